/**
 * SFT on easy-VQA: training steps with all turns of a picture as branches of one row, against rows
 * of one turn with a picture each. Both ways see the same questions in the same order from the same
 * weights, and take turns in one process, after two steps that are not counted.
 *
 * NANOVLM_THREADS=1 deno run -A bench/easy_vqa_branches.ts [--data FOLDER] [--steps 20]
 *   [--set key.path=value]… > docs/runs/easy_vqa_branches.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { clockNamed, wallClock } from "../src/bench/clock.ts";
import { deviceFacts, loadAverage } from "../src/bench/device_facts.ts";
import { median } from "../src/bench/timing.ts";
import { loadConfig } from "../src/config/load_config.ts";
import type { ResolvedConfig } from "../src/config/config_types.ts";
import { initBackend } from "../src/device/backend.ts";
import { GradientAccumulator } from "../src/train/gradients.ts";
import { Optimizer } from "../src/train/optimizer.ts";
import { prepareData } from "../src/train/prepare_data.ts";
import { prepareModel } from "../src/train/prepare_model.ts";
import { sftGroups, sftMethod } from "../src/train/sft_setup.ts";

const CONFIG = "configs/easy_vqa.yaml";
const WARM_UP = 2;

/** Seconds of one step, and what it did. */
interface StepTime {
  readonly wall: number;
  readonly processor: number;
  readonly loss: number;
  /** Tokens that went through the decoder, padding not counted. */
  readonly tokens: number;
}

/** One way to train: a model of its own, to be stepped. */
async function way(config: ResolvedConfig, sharePrefix: boolean) {
  const prepared = await prepareModel(config.model, config.training.seed);
  const training = { ...config.training, share_prefix: sharePrefix };
  const { train } = await prepareData(config, "vqa");
  const method = sftMethod(prepared, training, train, null);
  const optimizer = new Optimizer(sftGroups(prepared, training), {
    beta1: training.adam_beta1,
    beta2: training.adam_beta2,
    eps: training.adam_epsilon,
    maxGradNorm: training.max_grad_norm,
  });
  const accumulator = new GradientAccumulator();
  const processorClock = clockNamed("cpu");
  let step = 0;
  return {
    /** Batch, forward, backward, clipping, AdamW. */
    async step(): Promise<StepTime> {
      const wall = wallClock(), processor = processorClock();
      const { parameters } = optimizer;
      const { losses, tokens } = await method.step({ accumulator, parameters, step: step++ });
      const measured = await optimizer.measure(accumulator.gradients, losses);
      optimizer.step(accumulator.gradients, measured.gradNorm, 1);
      accumulator.reset();
      for (const loss of losses) loss.dispose();
      return {
        wall: wallClock() - wall,
        processor: processorClock() - processor,
        loss: measured.losses.reduce((sum, loss) => sum + loss, 0),
        tokens,
      };
    },
    /** The questions of the last step, as one text. */
    questions: () =>
      (method.describeLastBatch() as { row: number; labels: number[] }[][]).flat()
        .map(({ row, labels }) => `${row}:${labels}`).sort().join("\n"),
    release: () => method.release(),
    pictures: () =>
      new Set((method.describeLastBatch() as { row: number }[][]).flat().map(({ row }) => row))
        .size,
  };
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, {
    string: ["data", "steps", "set"],
    collect: ["set"],
    default: { data: "../shared/data/easy-vqa", steps: "20" },
  });
  const steps = Number(flags.steps);
  const config = await loadConfig(CONFIG, {
    overrides: [
      `dataset.train_data_path=${flags.data}`,
      "training.eval_strategy=no",
      ...(flags.set as string[]),
    ],
  });
  await initBackend({ backend: "wasm" });
  const { reason, cpu, cores, deno, threads } = deviceFacts();
  const { per_device_train_batch_size: batchSize, gradient_accumulation_steps: accumulated } =
    config.training;
  console.log(`easy-VQA, ${CONFIG}, ${batchSize} x ${accumulated} questions a step`);
  console.log(`backend wasm: ${reason}`);
  const load = loadAverage()?.toFixed(1);
  console.log(`machine ${cpu}, ${cores} cores, ${threads} threads; load ${load}; Deno ${deno}`);
  const branches = await way(config, true), alone = await way(config, false);
  const times: { branches: StepTime; alone: StepTime }[] = [];
  let pictures = 0, largest = 0;
  for (let step = 0; step < WARM_UP + steps; step++) {
    // Whoever goes second finds the caches as the other left them: they take turns in that too.
    const first = step % 2 === 0 ? branches : alone;
    const second = step % 2 === 0 ? alone : branches;
    const a = await first.step(), b = await second.step();
    if (branches.questions() !== alone.questions()) {
      throw new Error(`Cannot compare: step ${step + 1} of the two ways has different questions`);
    }
    const pair = step % 2 === 0 ? { branches: a, alone: b } : { branches: b, alone: a };
    largest = Math.max(largest, Math.abs(pair.branches.loss - pair.alone.loss));
    if (step < WARM_UP) continue;
    pictures += branches.pictures() / steps;
    times.push(pair);
  }
  await Promise.all([branches.release(), alone.release()]);
  console.log(
    `${steps} steps each way, in turns; ${pictures.toFixed(1)} pictures a step; same questions, ` +
      `losses differ by at most ${largest.toExponential(1)}\n`,
  );
  const cells = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(34) : cell.padStart(12)).join("");
  console.log(cells(["median of a step", "branches", "one turn", "ratio"]));
  const line = (name: string, digits: number, value: (time: StepTime) => number) => {
    const ours = median(times.map(({ branches }) => value(branches)));
    const theirs = median(times.map(({ alone }) => value(alone)));
    const ratio = median(times.map(({ branches, alone }) => value(branches) / value(alone)));
    console.log(cells([name, ours.toFixed(digits), theirs.toFixed(digits), ratio.toFixed(3)]));
  };
  line("processor time, s", 3, ({ processor }) => processor);
  line("time that passes, s", 3, ({ wall }) => wall);
  line("tokens through the decoder", 0, ({ tokens }) => tokens);
}
