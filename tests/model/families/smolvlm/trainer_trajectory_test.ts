import { assert } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../../src/device/backend.ts";
import { readBack } from "../../../../src/device/read_back.ts";
import { VisionLanguageModel } from "../../../../src/generate/vision_language_model.ts";
import { IGNORED_LABEL } from "../../../../src/ignored_label.ts";
import { toModelName } from "../../../../src/model/families/smolvlm/names.ts";
import { readSafetensors } from "../../../../src/model/safetensors/safetensors.ts";
import { GradientAccumulator } from "../../../../src/train/loop/gradients.ts";
import { ADAMW_DEFAULTS, Optimizer } from "../../../../src/train/optimizer/optimizer.ts";
import { createSchedule } from "../../../../src/train/optimizer/schedules.ts";
import { fixtureTest } from "../../../parity/shared_fixtures.ts";

/** What trainer_trajectory.py recorded with Transformers' Trainer. */
interface Trajectory {
  order: number[];
  batch: number;
  accumulation: number;
  learning_rate: number;
  weight_decay: number;
  warmup_steps: number;
  decayed: string[];
  steps: { loss: number; grad_norm: number; learning_rate: number }[];
  final: Record<string, [norm: number, first: number, middle: number, last: number]>;
}

const recorded: Trajectory = JSON.parse(
  await Deno.readTextFile(new URL("./trainer_trajectory.json", import.meta.url)),
);

function assertNear(actual: number, wanted: number, allowed: number, what: string): void {
  assert(Math.abs(actual - wanted) <= allowed, `${what}: got ${actual}, want ${wanted}`);
}

fixtureTest("20 AdamW steps on a SmolVLM are those of Transformers' Trainer", async (directory) => {
  await initBackend({ backend: "wasm" });
  const folder = `${directory}/smolvlm`;
  const { cases } = JSON.parse(await Deno.readTextFile(`${folder}/smolvlm.json`));
  const tensors = await readSafetensors(`${folder}/smolvlm.safetensors`);
  const model = await VisionLanguageModel.fromPretrained(`${folder}/smolvlm`, {
    onWarning: () => {},
  });
  const decayed = new Set(recorded.decayed.map(toModelName));
  const parameters = (decays: boolean) =>
    new Map([...model.weights].filter(([name]) => decayed.has(name) === decays));
  const { learning_rate: learningRate, weight_decay: weightDecay } = recorded;
  const optimizer = new Optimizer([
    { name: "decayed", learningRate, weightDecay, parameters: parameters(true) },
    { name: "others", learningRate, weightDecay: 0, parameters: parameters(false) },
  ], { ...ADAMW_DEFAULTS, maxGradNorm: 1 });
  const schedule = createSchedule({
    name: "cosine",
    warmupSteps: recorded.warmup_steps,
    totalSteps: recorded.steps.length,
    baseLearningRate: learningRate,
  });
  const accumulator = new GradientAccumulator();
  const rows = recorded.batch * recorded.accumulation;
  let travel = 0;
  for (const [step, wanted] of recorded.steps.entries()) {
    const batch = recorded.order.slice(step * rows, (step + 1) * rows);
    const labels = batch.map((i) => [...cases[i].labels.slice(1), IGNORED_LABEL] as number[]);
    const counts = labels.map((row) => row.filter((label) => label !== IGNORED_LABEL).length);
    const count = counts.reduce((sum, n) => sum + n, 0);
    const losses: tf.Scalar[] = [];
    for (const [k, index] of batch.entries()) {
      const pixels = tensors.get(`case${index}.pixel_values`);
      const images = pixels === undefined
        ? null
        : tf.tensor(pixels.data as Float32Array, pixels.shape);
      const inputs = { inputIds: [cases[index].input_ids], labels: [labels[k]], images };
      losses.push(
        await accumulator.addLoss(
          () => model.forward(inputs).loss!.mul(counts[k] / count),
          optimizer.parameters,
        ),
      );
      images?.dispose();
    }
    const measured = await optimizer.measure(accumulator.gradients, losses);
    const multiplier = schedule.multiplier(step);
    optimizer.step(accumulator.gradients, measured.gradNorm, multiplier);
    accumulator.reset();
    tf.dispose(losses);
    const at = `step ${step + 1}`;
    const loss = measured.losses.reduce((sum, value) => sum + value, 0);
    assertNear(loss, wanted.loss, 2e-5 * wanted.loss, `${at}: loss`);
    assertNear(measured.gradNorm, wanted.grad_norm, 1e-4 * wanted.grad_norm, `${at}: grad_norm`);
    const rate = learningRate * multiplier;
    assertNear(rate, wanted.learning_rate, 1e-6 * learningRate, `${at}: learning rate`);
    travel += rate;
  }
  const weights = [...model.weights];
  const values = await readBack(weights.map(([, variable]) => variable)) as Float32Array[];
  const ours = new Map(weights.map(([name], i) => [name, values[i]]));
  for (const [file, [norm, first, middle, last]] of Object.entries(recorded.final)) {
    if (file.endsWith("k_proj.bias")) continue; // Its gradient is zero but for rounding.
    const weight = ours.get(toModelName(file))!;
    const found = [weight[0], weight[Math.floor(weight.length / 2)], weight[weight.length - 1]];
    [first, middle, last].forEach((wanted, i) => {
      assertNear(found[i], wanted, 5e-3 * travel, `${file}[${i}]`);
    });
    const own = Math.sqrt(weight.reduce((sum, value) => sum + value * value, 0));
    assertNear(own, norm, 1e-5 * norm, `norm of ${file}`);
  }
  optimizer.dispose();
  model.dispose();
});
