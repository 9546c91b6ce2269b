/**
 * SFT on easy-VQA: training steps with all turns of a picture as branches of one row, against rows
 * of one turn with a picture each. Both ways see the same questions in the same order from the same
 * weights, and take turns in one process: some steps each, of which the first is not counted,
 * because it frees what the other way used.
 *
 * NANOVLM_THREADS=1 deno run -A bench/easy_vqa_branches.ts [--data FOLDER] [--rounds 6]
 *   [--set key.path=value]… > docs/runs/easy_vqa_branches.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { clockNamed, wallClock } from "../src/bench/clock.ts";
import { deviceFacts, loadAverage } from "../src/bench/device_facts.ts";
import { median } from "../src/bench/timing.ts";
import { loadConfig } from "../src/config/load_config.ts";
import type { ResolvedConfig } from "../src/config/types/config_types.ts";
import { initBackend } from "../src/device/backend.ts";
import { GradientAccumulator } from "../src/train/loop/gradients.ts";
import { Optimizer } from "../src/train/optimizer/optimizer.ts";
import { optimizerOptions } from "../src/train/optimizer/parameter_groups.ts";
import { prepareData } from "../src/train/batches/prepare_data.ts";
import { prepareModel } from "../src/train/run/prepare_model.ts";
import { sftGroups, sftMethod } from "../src/train/sft/setup.ts";

const CONFIG = "configs/easy_vqa.yaml";
/** Steps of a turn. */
const TURN = 4;

/** Seconds of one step, and what it did. */
interface StepTime {
  readonly wall: number;
  readonly processor: number;
  readonly loss: number;
  /** Tokens that went through the decoder. */
  readonly tokens: number;
}

/** One way to train: a model of its own, to be stepped. */
async function way(config: ResolvedConfig, sharePrefix: boolean) {
  const prepared = await prepareModel(config.model, config.training.seed);
  const training = { ...config.training, share_prefix: sharePrefix };
  const { train } = await prepareData(config, "vqa");
  const method = sftMethod({ training, sft: config.sft }, { prepared, train, evaluation: null });
  const optimizer = new Optimizer(
    sftGroups(prepared, { training, sft: config.sft }),
    optimizerOptions(training),
  );
  const accumulator = new GradientAccumulator();
  const processorClock = clockNamed("cpu");
  let step = 0;
  return {
    /** Batch, forward, backward, clipping, AdamW. */
    async step(): Promise<StepTime> {
      const wall = wallClock(), processor = processorClock();
      const { parameters } = optimizer;
      const { losses, tokens } = await method.step({
        accumulator,
        parameters,
        step: step++,
        more: true,
      });
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
    string: ["data", "rounds", "set"],
    collect: ["set"],
    default: { data: "../shared/data/easy-vqa", rounds: "6" },
  });
  const rounds = Number(flags.rounds);
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
  const times: { branches: StepTime[]; alone: StepTime[] } = { branches: [], alone: [] };
  const ratios: number[] = [];
  let pictures = 0, largest = 0;
  for (let round = 0; round < rounds + 1; round++) {
    const turns = { branches: [] as StepTime[], alone: [] as StepTime[] };
    const asked = { branches: [] as string[], alone: [] as string[] };
    // The first round warms up; in the others each way goes first as often as second.
    for (
      const name of round % 2 === 0
        ? ["branches", "alone"] as const
        : ["alone", "branches"] as const
    ) {
      const one = name === "branches" ? branches : alone;
      for (let step = 0; step < TURN; step++) {
        turns[name].push(await one.step());
        asked[name].push(one.questions());
      }
    }
    if (asked.branches.join("\n") !== asked.alone.join("\n")) {
      throw new Error(`Cannot compare: the two ways have different questions in round ${round}`);
    }
    turns.branches.forEach(({ loss }, i) => {
      largest = Math.max(largest, Math.abs(loss - turns.alone[i].loss));
    });
    if (round === 0) continue;
    pictures += branches.pictures() / rounds;
    for (const name of ["branches", "alone"] as const) times[name].push(...turns[name].slice(1));
    const sum = (of: StepTime[]) =>
      of.slice(1).reduce((total, { processor }) => total + processor, 0);
    ratios.push(sum(turns.branches) / sum(turns.alone));
  }
  await Promise.all([branches.release(), alone.release()]);
  console.log(
    `${rounds} turns of ${TURN} steps each way, the first of each not counted; ` +
      `${
        pictures.toFixed(1)
      } pictures a step; same questions; losses of a step differ by at most ` +
      `${largest.toExponential(1)}\n`,
  );
  const cells = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(34) : cell.padStart(12)).join("");
  console.log(cells(["median of a step", "branches", "one turn", "ratio"]));
  const line = (name: string, digits: number, value: (time: StepTime) => number) => {
    const ours = median(times.branches.map(value)), theirs = median(times.alone.map(value));
    const numbers = [ours.toFixed(digits), theirs.toFixed(digits), (ours / theirs).toFixed(3)];
    console.log(cells([name, ...numbers]));
  };
  line("processor time, s", 3, ({ processor }) => processor);
  line("time that passes, s", 3, ({ wall }) => wall);
  line("tokens through the decoder", 0, ({ tokens }) => tokens);
  const range = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(3));
  console.log(`\nratio of processor time, turn by turn: ${range.join(" … ")}`);
}
