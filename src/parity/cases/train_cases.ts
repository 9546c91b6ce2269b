/**
 * Replays `train/`: SFT trajectories of NanoVLM-Lab's trainer on Hugging Face's Trainer.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../device/read_back.ts";
import { readSafetensors } from "../../model/safetensors/safetensors.ts";
import { GradientAccumulator } from "../../train/loop/gradients.ts";
import { ADAMW_DEFAULTS, Optimizer } from "../../train/optimizer/optimizer.ts";
import { parameterGroups } from "../../train/optimizer/parameter_groups.ts";
import { createSchedule, type ScheduleName } from "../../train/optimizer/schedules.ts";
import { compareNumbers } from "../compare_numbers.ts";
import {
  deviceTensor,
  exists,
  type Fixture,
  fixtureModel,
  floats,
  forwardInputs,
  idRows,
} from "../fixture_model.ts";
import { applyFixtureAdapter } from "./lora_cases.ts";
import type { ParityResult } from "../result.ts";

interface Trajectory {
  start: string;
  final: string;
  mp_trainable?: boolean;
  config: {
    gradient_accumulation_steps: number;
    weight_decay: number;
    max_grad_norm: number;
    lr_mp: number;
    lr_vision_backbone: number;
    lr_language_backbone: number;
    lr_lora: number;
  };
  micro_batch_order: number[];
  scheduler: ScheduleName;
  warmup_steps: number;
  probe_loss_after: number;
  steps: {
    loss: number;
    micro_losses: number[];
    accumulation_divisor: number;
    grad_norm: number;
    lr: Record<string, number>;
  }[];
}

/** The recorded micro-batch `index`; the caller frees its images. */
function microBatch(batches: Fixture, index: number) {
  const images = batches.has(`mb${index}.images`)
    ? deviceTensor(batches, `mb${index}.images`)
    : null;
  return {
    inputIds: idRows(batches, `mb${index}.input_ids`),
    attentionMask: idRows(batches, `mb${index}.attention_mask`),
    labels: idRows(batches, `mb${index}.labels`),
    images,
  };
}

/** Final weights, relative to the distance that the learning rates allow. */
function compareFinal(
  name: string,
  actual: Map<string, Float32Array>,
  expected: Fixture,
  travelOf: (tensor: string) => number,
): ParityResult[] {
  const results: ParityResult[] = [];
  for (const [tensor, values] of actual) {
    const wanted = floats(expected, tensor);
    const keys = tensor.endsWith("attn.qkv_proj.bias") ? wanted.length / 3 : Infinity;
    let largest = 0, squares = 0;
    wanted.forEach((value, i) => {
      if (i >= keys && i < 2 * keys) return; // exact gradient 0: both sides hold noise
      const error = Math.abs(values[i] - value);
      largest = Math.max(largest, error);
      squares += error * error;
    });
    const travel = travelOf(tensor);
    const rms = Math.sqrt(squares / wanted.length);
    const check = (quantity: string, error: number, tolerance: number) =>
      results.push({ case: name, quantity, error, tolerance, ok: error <= tolerance });
    check(`final ${tensor} max`, largest, 5e-3 * travel);
    check(`final ${tensor} rms`, rms, 1.5e-3 * travel);
  }
  return results;
}

async function replayTrajectory(directory: string, name: string): Promise<ParityResult[]> {
  const folder = `${directory}/train`;
  const recorded: Trajectory = JSON.parse(
    await Deno.readTextFile(`${folder}/${name}_trajectory.json`),
  );
  const { config } = recorded;
  const adapter = /\+ (lora\/\w+)\//.exec(recorded.start)?.[1];
  if (adapter && !await exists(`${directory}/${adapter}`)) return [];
  const batches = await readSafetensors(`${folder}/batches.safetensors`);
  const model = await fixtureModel(`${directory}/model`);
  if (adapter) await applyFixtureAdapter(model, `${directory}/${adapter}`);
  const groups = parameterGroups(model, {
    modalityProjector: recorded.mp_trainable === false ? 0 : config.lr_mp,
    visionEncoder: config.lr_vision_backbone,
    languageBackbone: config.lr_language_backbone,
    lora: config.lr_lora,
  }, config.weight_decay);
  const optimizer = new Optimizer(groups, {
    ...ADAMW_DEFAULTS,
    maxGradNorm: config.max_grad_norm,
  });
  const schedule = createSchedule({
    name: recorded.scheduler,
    warmupSteps: recorded.warmup_steps,
    totalSteps: recorded.steps.length,
    baseLearningRate: groups[0].learningRate,
  });
  const results: ParityResult[] = [];
  const accumulator = new GradientAccumulator();
  let next = 0;
  for (const [step, wanted] of recorded.steps.entries()) {
    const losses: tf.Scalar[] = [];
    for (let k = 0; k < wanted.accumulation_divisor; k++) {
      const inputs = microBatch(batches, recorded.micro_batch_order[next++]);
      losses.push(
        await accumulator.addLoss(
          () => model.forward(inputs).loss!.div(wanted.accumulation_divisor),
          optimizer.parameters,
        ),
      );
      inputs.images?.dispose();
    }
    const measured = await optimizer.measure(accumulator.gradients, losses);
    const multiplier = schedule.multiplier(step);
    optimizer.step(accumulator.gradients, measured.gradNorm, multiplier);
    accumulator.reset();
    tf.dispose(losses);
    const micro = measured.losses.map((loss) => loss * wanted.accumulation_divisor);
    const at = `train/${name} step ${step + 1}`;
    const loss = measured.losses.reduce((sum, value) => sum + value, 0);
    results.push(
      compareNumbers(at, "loss", [loss], [wanted.loss], { relative: 2e-5 }),
      compareNumbers(at, "micro losses", micro, wanted.micro_losses, { relative: 2e-5 }),
      compareNumbers(at, "grad_norm", [measured.gradNorm], [wanted.grad_norm], { relative: 1e-4 }),
    );
    for (const group of groups) {
      results.push(compareNumbers(
        at,
        `lr ${group.name}`,
        [group.learningRate * multiplier],
        [wanted.lr[group.name]],
        { relative: 1e-6, absolute: 1e-15 },
      ));
    }
  }
  const rateSum = (tensor: string) => {
    const group = groups.find((candidate) => candidate.parameters.has(tensor))!;
    return recorded.steps.reduce((sum, { lr }) => sum + lr[group.name], 0);
  };
  const names = [...optimizer.parameters.keys()];
  const finals = await readBack([...optimizer.parameters.values()]);
  // The file of a PEFT model has PEFT's prefix on weights outside the adapter.
  const expected = await readSafetensors(`${folder}/${recorded.final}`);
  const expectedByName: Fixture = new Map(
    [...expected].map(([tensor, value]) => [
      tensor.includes(".lora_") ? tensor : tensor.replace(/^base_model\.model\./, ""),
      value,
    ]),
  );
  const actual = new Map(names.map((tensor, i) => [tensor, finals[i] as Float32Array]));
  results.push(...compareFinal(`train/${name}`, actual, expectedByName, rateSum));
  const probeFile = `${directory}/model/forward.safetensors`;
  if (await exists(probeFile)) {
    const probe = forwardInputs(await readSafetensors(probeFile));
    const { loss } = model.forward(probe);
    const [[after]] = await readBack([loss!]);
    results.push(compareNumbers(
      `train/${name}`,
      "probe loss after",
      [after],
      [recorded.probe_loss_after],
      { relative: 2e-5 },
    ));
    tf.dispose([loss!, probe.images]);
  }
  optimizer.dispose();
  model.dispose();
  return results;
}

/** Recorded trajectories: `sft` for `sft_trajectory.json`. */
async function trajectoryNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const trajectory = /^(.+)_trajectory\.json$/.exec(name);
    if (trajectory) names.push(trajectory[1]);
  }
  return names.sort();
}

/**
 * Replays each trajectory of `train/` on the current backend.
 *
 * @param directory the fixtures folder
 */
export async function replayTrainCases(directory: string): Promise<ParityResult[]> {
  const results: ParityResult[] = [];
  for (const name of await trajectoryNames(`${directory}/train`)) {
    results.push(...await replayTrajectory(directory, name));
  }
  return results;
}
