/**
 * Micro-batches by a budget of tokens (`training.token_budget`) against micro-batches of a number of
 * rows, on rows of mixed lengths. Both ways train on the same rows in the same steps; the number of
 * rows is the largest that keeps the longest rows within the same tokens. They take turns in one
 * process, and the first step of each turn is not counted, because it frees what the other way used.
 *
 * NANOVLM_THREADS=1 deno run -A bench/token_budget.ts [--rounds 6] [--budget 1024]
 *   [--set key.path=value]… > docs/runs/token_budget.log
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { clockNamed, wallClock } from "../src/bench/clock.ts";
import { deviceFacts, loadAverage } from "../src/bench/device_facts.ts";
import { median } from "../src/bench/timing.ts";
import { EMBEDDED_CONFIGS } from "../src/config/embedded/embedded_configs.ts";
import { parseConfig } from "../src/config/load_config.ts";
import type { ResolvedConfig } from "../src/config/types/config_types.ts";
import { embeddedShapes, shapesVqaRows } from "../src/data/embedded/embedded_shapes.ts";
import { datasetFromRows } from "../src/data/load_dataset.ts";
import type { Row } from "../src/data/rows/row.ts";
import { initBackend } from "../src/device/backend.ts";
import { RandomStream } from "../src/random.ts";
import { GradientAccumulator } from "../src/train/loop/gradients.ts";
import { Optimizer } from "../src/train/optimizer/optimizer.ts";
import { optimizerOptions } from "../src/train/optimizer/parameter_groups.ts";
import { prepareModel } from "../src/train/run/prepare_model.ts";
import { sftGroups, sftMethod } from "../src/train/sft/setup.ts";

/** Steps of a turn. */
const TURN = 3;
/** Rows of a step. */
const STEP_ROWS = 32;
/** Characters of an answer, and how often; the tokenizer of the drawn shapes has short tokens. */
const LENGTHS: readonly (readonly [share: number, words: number])[] = [
  [0.6, 2],
  [0.25, 20],
  [0.1, 80],
  [0.05, 160],
];

/** A question about each picture; answers of mixed lengths. */
function mixedRows(pictures: number): Row[] {
  const random = new RandomStream(1, "answer lengths");
  const shapes = shapesVqaRows(embeddedShapes({ trainPictures: pictures }).train);
  return shapes.map((row) => {
    let draw = random.nextFloat();
    const [, words] = LENGTHS.find(([share]) => (draw -= share) < 0) ?? LENGTHS[0];
    const count = Math.max(1, Math.round(words * (0.5 + random.nextFloat())));
    const assistant = Array.from({ length: count }, (_, i) => ["red", "circle", "two"][i % 3]);
    return { ...row, texts: [{ user: "What is there?", assistant: assistant.join(" ") }] };
  });
}

/** A way to cut steps. */
async function way(config: ResolvedConfig, rows: readonly Row[]) {
  const prepared = await prepareModel(config.model, config.training.seed);
  const train = await datasetFromRows(rows, { format: "vqa", name: "mixed lengths" });
  const { training, sft } = config;
  const method = sftMethod({ training, sft }, { prepared, train, evaluation: null });
  const optimizer = new Optimizer(
    sftGroups(prepared, { training, sft }),
    optimizerOptions(training),
  );
  const accumulator = new GradientAccumulator();
  const processorClock = clockNamed("cpu");
  let step = 0;
  return {
    async step() {
      const wall = wallClock(), processor = processorClock();
      const { parameters } = optimizer;
      const context = { accumulator, parameters, step: step++, more: true };
      const { losses, tokens } = await method.step(context);
      const measured = await optimizer.measure(accumulator.gradients, losses);
      optimizer.step(accumulator.gradients, measured.gradNorm, 1);
      accumulator.reset();
      for (const loss of losses) loss.dispose();
      return {
        wall: wallClock() - wall,
        processor: processorClock() - processor,
        loss: measured.losses.reduce((sum, loss) => sum + loss, 0),
        tokens,
        batches: losses.length,
        largest: method.lastBatchSize!.tokens,
      };
    },
    /** Tokens of every row. */
    async lengths(): Promise<number[]> {
      const made: number[] = [];
      for (let i = 0; i < train.length; i++) {
        const example = await train.get(i);
        const { inputIds } = await method.parts.maker.make({
          example,
          row: i,
          place: () => train.place(i),
        });
        made.push(inputIds.length);
      }
      return made;
    },
    release: () => method.release(),
  };
}

type StepTime = Awaited<ReturnType<Awaited<ReturnType<typeof way>>["step"]>>;

const args = parseArgs(Deno.args, {
  string: ["rounds", "budget"],
  collect: ["set"],
  default: { rounds: "6", budget: "1024" },
});
const budget = Number(args.budget), rounds = Number(args.rounds);
const overrides = ((args.set ?? []) as readonly unknown[]).map(String);
const configOf = (rowsAtOnce: number, ofBudget: number | null) =>
  parseConfig(EMBEDDED_CONFIGS.sft.text, {
    trainingType: "sft",
    overrides: [
      "training.max_seq_length=1024",
      "model.vlm_config.lm_max_position_embeddings=1024",
      "model.vlm_config.lm_max_length=1024",
      `training.per_device_train_batch_size=${rowsAtOnce}`,
      `training.gradient_accumulation_steps=${STEP_ROWS / rowsAtOnce}`,
      `training.token_budget=${ofBudget}`,
      ...overrides,
    ],
  });

const backend = await initBackend({ backend: "wasm" });
const rows = mixedRows(512);
const probe = await way(configOf(1, null), rows);
const lengths = (await probe.lengths()).sort((a, b) => a - b);
await probe.release();
const longest = lengths[lengths.length - 1];
// A power of two, so that it divides the rows of a step.
const atOnce = 2 ** Math.max(0, Math.floor(Math.log2(budget / longest)));
const ways = [await way(configOf(atOnce, null), rows), await way(configOf(atOnce, budget), rows)];
const times: StepTime[][] = [[], []], ratios: number[] = [];
let difference = 0;
for (let round = 0; round <= rounds; round++) {
  const turns: StepTime[][] = [];
  for (const one of ways) {
    const steps: StepTime[] = [];
    for (let i = 0; i < TURN; i++) steps.push(await one.step());
    turns.push(steps);
  }
  turns[0].forEach(({ loss }, i) => {
    difference = Math.max(difference, Math.abs(loss - turns[1][i].loss));
  });
  if (round === 0) continue; // pictures are decoded, memory is taken
  const rate = (steps: readonly StepTime[]) =>
    steps.slice(1).reduce((sum, { tokens }) => sum + tokens, 0) /
    steps.slice(1).reduce((sum, { processor }) => sum + processor, 0);
  ratios.push(rate(turns[1]) / rate(turns[0]));
  turns.forEach((steps, i) => times[i].push(...steps.slice(1)));
}
for (const one of ways) await one.release();

const { cpu, cores, threads, deno } = deviceFacts();
const of = (key: keyof StepTime) => times.map((steps) => median(steps.map((step) => step[key])));
const largest = times.map((steps) => Math.max(...steps.map((step) => step.largest)));
const perSecond = (clock: "wall" | "processor") =>
  times.map((steps) =>
    steps.reduce((sum, { tokens }) => sum + tokens, 0) /
    steps.reduce((sum, step) => sum + step[clock], 0)
  );
const line = (name: string, [byRows, byTokens]: readonly number[], digits = 0) =>
  `${name.padEnd(34)}${byRows.toFixed(digits).padStart(12)}${
    byTokens.toFixed(digits).padStart(12)
  }${(byTokens / byRows).toFixed(3).padStart(12)}`;
const quantile = (share: number) => lengths[Math.floor(share * (lengths.length - 1))];
const ofEnvironment = Deno.env.get("NANOVLM_THREADS");
console.log(
  `$ ${ofEnvironment ? `NANOVLM_THREADS=${ofEnvironment} ` : ""}deno run -A bench/token_budget.ts ${
    Deno.args.join(" ")
  }
SFT of the tiny model, ${STEP_ROWS} rows a step; tokens of a row: median ${quantile(0.5)}, 90 % ${
    quantile(0.9)
  }, longest ${longest}
backend ${backend.name}: ${backend.reason}
machine ${cpu}, ${cores} cores, ${threads} threads; load ${loadAverage()}; Deno ${deno}
${rounds} turns of ${TURN} steps each way, the first of each not counted; same rows; losses of a step differ by at most ${
    difference.toExponential(1)
  }

median of a step                   ${`${atOnce} rows`.padStart(11)}${
    `${budget} tokens`.padStart(12)
  }       ratio
${line("micro-batches", of("batches"))}
${line("tokens of the largest micro-batch", largest)}
${line("tokens a second of processor time", perSecond("processor"))}
${line("tokens a second that passes", perSecond("wall"))}

ratio of tokens a second of processor time, turn by turn: ${Math.min(...ratios).toFixed(3)} … ${
    Math.max(...ratios).toFixed(3)
  }`,
);
