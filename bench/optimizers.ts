/**
 * Every optimizer on the embedded default of SFT, cut to a number of steps, at several learning rates:
 * the held-out loss, and the bytes of state a parameter. And the time of an update of a block's matrices
 * beside AdamW's: the optimizers take turns in one process.
 *
 * deno run -A bench/optimizers.ts [--steps 300] [--factors 0.1,0.3,1,3] [--set key.path=value]…
 *   > docs/runs/optimizers.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import * as tf from "@tensorflow/tfjs";
import { deviceFacts, loadAverage } from "../src/bench/device_facts.ts";
import { median } from "../src/bench/timing.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import { OPTIMIZER_NAMES } from "../src/config/schema/optimizer/optimizer_names.ts";
import { initBackend } from "../src/device/backend.ts";
import { prepareData } from "../src/train/batches/prepare_data.ts";
import { optimizerBytes } from "../src/train/dry_run/optimizer_bytes.ts";
import { sizeOf } from "../src/train/dry_run/step_memory_options.ts";
import { StepUpdate } from "../src/train/loop/step_update.ts";
import { ADAMW_DEFAULTS, Optimizer } from "../src/train/optimizer/optimizer.ts";
import { optimizerOptions } from "../src/train/optimizer/parameter_groups.ts";
import { prepareModel } from "../src/train/run/prepare_model.ts";
import { sftGroups, sftMethod } from "../src/train/sft/setup.ts";

const args = parseArgs(Deno.args, {
  string: ["steps", "factors"],
  collect: ["set"],
  default: { steps: "300", factors: "0.1,0.3,1,3" },
});
const factors = String(args.factors).split(",").map(Number);
const overrides = ((args.set ?? []) as readonly unknown[]).map(String);

/** One run: its held-out loss, and what the optimizer took. */
async function run(optim: string, factor: number) {
  const config = parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: [
      `training.max_steps=${args.steps}`,
      `training.learning_rate=${2e-3 * factor}`,
      `training.lr_mp=${2e-3 * factor}`,
      `training.optim=${optim}`,
      ...(optim === "schedule_free_adamw" ? ["training.lr_scheduler_type=constant"] : []),
      ...(optim.startsWith("lion") ? ["training.adam_beta2=0.99"] : []),
      ...overrides,
    ],
  });
  const { training } = config;
  const prepared = await prepareModel(config.model, training.seed);
  const data = await prepareData(config, "vqa");
  const method = sftMethod(config, { prepared, train: data.train, evaluation: data.evaluation });
  const groups = sftGroups(prepared, config);
  const update = new StepUpdate({ training, groups }, training.max_steps);
  const { optimizer, accumulator } = update;
  const { parameters } = optimizer;
  try {
    for (let step = 0; step < training.max_steps; step++) {
      const context = { accumulator, parameters, step, more: step + 1 < training.max_steps };
      await update.apply(await method.step(context), step);
    }
    await optimizer.showAverages();
    const evaluated = await method.evaluate();
    const { stateBytes } = optimizerBytes(parameters, optimizerOptions(training), "wasm");
    return {
      loss: evaluated!.metrics.eval_loss,
      bytes: stateBytes / sizeOf(parameters.values()),
    };
  } finally {
    await method.release();
    update.dispose();
    prepared.model.dispose();
  }
}

/** The weights of a block of the 230M model's decoder. */
const SHAPES = [[960, 960], [320, 960], [2560, 960], [960, 2560], [960]];

/** Median milliseconds of an update on wasm, by optimizer. */
function updateTimes(rounds: number): Map<string, number> {
  const tensors = (scale: number) =>
    new Map(SHAPES.map((shape, i) => [
      `decoder.blocks.0.${i}.weight`,
      tf.randomNormal(shape, 0, scale, "float32", i) as tf.Tensor,
    ]));
  const gradients = tensors(1e-3);
  const optimizers = OPTIMIZER_NAMES.map((name) => {
    const parameters = new Map(
      Array.from(tensors(0.02), ([key, start]) => [key, tf.variable(start, false)]),
    );
    const group = { name: "g", learningRate: 1e-4, weightDecay: 0.01, parameters };
    return { name, optimizer: new Optimizer([group], { ...ADAMW_DEFAULTS, name }), parameters };
  });
  const times = new Map<string, number[]>(OPTIMIZER_NAMES.map((name) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (const { name, optimizer } of optimizers) {
      const started = performance.now();
      optimizer.step(gradients, 1, 1);
      if (round > 0) times.get(name)!.push(performance.now() - started);
    }
  }
  for (const { optimizer, parameters } of optimizers) {
    optimizer.dispose();
    tf.dispose([...parameters.values()]);
  }
  tf.dispose([...gradients.values()]);
  return new Map(Array.from(times, ([name, each]) => [name, median(each)]));
}

const backend = await initBackend({ backend: "wasm" });
const { cpu, cores, threads, deno } = deviceFacts();
console.log(
  `$ deno run -A bench/optimizers.ts ${Deno.args.join(" ")}
SFT of the embedded default, ${args.steps} steps; held-out loss, nats a token, by learning rate
backend ${backend.name}: ${backend.reason}
machine ${cpu}, ${cores} cores, ${threads} threads; load ${loadAverage()}; Deno ${deno}
update: the median time of an update of ${
    SHAPES.map((shape) => shape.join("×")).join(", ")
  }, AdamW's as 1

${"optimizer".padEnd(21)}${
    factors.map((factor) => (2e-3 * factor).toPrecision(1).padStart(9)).join("")
  }${"bytes".padStart(9)}${"update".padStart(9)}`,
);
const times = updateTimes(15);
for (const optim of OPTIMIZER_NAMES) {
  const runs = [];
  for (const factor of factors) {
    runs.push(await run(optim, factor).catch(() => null)); // null: it diverged
  }
  console.log(
    optim.padEnd(21) +
      runs.map((one) => (one?.loss.toFixed(3) ?? "diverged").padStart(9)).join("") +
      (runs.find((one) => one !== null)?.bytes.toFixed(2) ?? "").padStart(9) +
      (times.get(optim)! / times.get("adamw_torch")!).toFixed(1).padStart(9),
  );
}
