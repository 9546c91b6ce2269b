/**
 * `eval`.
 *
 * @module
 */
import type { SkippedRows } from "../src/data/rows/skipped_rows.ts";
import { BENCHMARK_NAMES } from "../src/evaluate/benchmarks/benchmark_table.ts";
import { evaluatePreference } from "../src/evaluate/evaluate_preference.ts";
import { evaluateRewards } from "../src/evaluate/evaluate_rewards.ts";
import { evaluateVqa } from "../src/evaluate/evaluate_vqa.ts";
import { dataWarnings } from "../src/data/data_notes.ts";
import { defaultSplit, evaluationData, formatOfData } from "../src/evaluate/evaluation_data.ts";
import type { LoadedModel } from "../src/generate/load_model.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { untilAborted } from "../src/until_aborted.ts";
import type { Command } from "./command.ts";
import {
  type DataEvalOptions,
  type EvalOptions,
  evalOptions,
  parseEvalArguments,
} from "./eval_options.ts";
import { spreadRecord, spreadTable } from "./eval_spread.ts";
import { metricsOf, metricsRecord, metricsTable } from "./eval_metrics.ts";
import { evaluateBenchmark, namedBenchmark } from "./eval_benchmark.ts";
import { describeOptions } from "./arguments.ts";
import { compareOptions, compareResults } from "./eval_compare.ts";
import { checkNamedPaths, type Named, namedModel } from "./named_paths.ts";
import { progressLine } from "./progress_line.ts";
import { openModel } from "./open_model.ts";

/** What an evaluation found, or found so far if its signal was aborted. */
interface Measured {
  /** What `--json` prints. */
  readonly scores: { readonly examples: number; readonly [name: string]: unknown };
  readonly skipped: SkippedRows;
  readonly table: string;
}

/** Lines of `--out`, written as they come; what a file holds already goes with the first of them. */
class AnswerLines {
  readonly #file: Deno.FsFile | null;
  #begun = false;

  constructor(path: string | undefined) {
    this.#file = path === undefined ? null : Deno.openSync(path, { write: true, create: true });
  }

  write(line: Record<string, unknown>): void {
    if (this.#file === null) return;
    if (!this.#begun) this.#file.truncateSync(0);
    this.#begun = true;
    let bytes = new TextEncoder().encode(JSON.stringify(line) + "\n");
    while (bytes.length > 0) bytes = bytes.subarray(this.#file.writeSync(bytes));
  }

  [Symbol.dispose](): void {
    this.#file?.close();
  }
}

async function evaluateAsVqa(
  loaded: LoadedModel,
  asked: DataEvalOptions,
  lines: AnswerLines,
  signal: AbortSignal,
): Promise<Measured> {
  const dataset = await untilAborted(evaluationData(asked.data, "vqa", asked), signal);
  for (const warning of dataWarnings(dataset)) console.error(`warning: ${warning}`);
  const { examples, questions, exactMatch, byType, metrics } = await evaluateVqa(loaded, dataset, {
    withHistory: asked.withHistory,
    metrics: metricsOf(asked.metrics),
    groupBy: asked.by,
    batchSize: asked.batchSize,
    maxNewTokens: asked.maxNewTokens,
    signal,
    onProgress: progressLine("questions answered"),
    onAnswer: ({ question, expected, answer, correct, type, scores }) =>
      lines.write({
        question,
        expected,
        answer,
        correct,
        ...(type === null ? {} : { answer_type: type }),
        ...(asked.metrics.length > 0 ? { scores } : {}),
      }),
  });
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const rows = [...byType].map(([type, score]) => [
    type,
    score.questions,
    percent(score.exactMatch),
  ]);
  return {
    scores: {
      examples,
      questions,
      exact_match: exactMatch,
      ...(byType.size === 0 ? {} : {
        by_answer_type: Object.fromEntries(
          [...byType].map(([type, score]) => [
            type,
            { questions: score.questions, exact_match: score.exactMatch },
          ]),
        ),
      }),
      ...(metrics.size === 0 ? {} : { metrics: metricsRecord(metrics) }),
    },
    skipped: dataset.skipped,
    table: metricsTable(metrics) + formatTable(
      [{ header: "answers" }, { header: "questions", align: "right" }, {
        header: "exact match",
        align: "right",
      }],
      [...rows, ["all", questions, percent(exactMatch)]],
    ),
  };
}

async function evaluateAsPreference(
  loaded: LoadedModel,
  asked: DataEvalOptions,
  lines: AnswerLines,
  signal: AbortSignal,
): Promise<Measured> {
  const dataset = await untilAborted(evaluationData(asked.data, "preference", asked), signal);
  for (const warning of dataWarnings(dataset)) console.error(`warning: ${warning}`);
  const { examples, accuracy, margin } = await evaluatePreference(loaded, dataset, {
    batchSize: asked.batchSize,
    signal,
    onProgress: progressLine("pairs scored"),
    onPair: ({ prompt, chosen, rejected, chosenLogProb, rejectedLogProb, correct }) =>
      lines.write({
        question: prompt,
        chosen,
        rejected,
        chosen_log_prob: chosenLogProb,
        rejected_log_prob: rejectedLogProb,
        correct,
      }),
  });
  return {
    scores: { examples, accuracy, margin },
    skipped: dataset.skipped,
    table: formatTable(
      [{ header: "pairs", align: "right" }, { header: "chosen over rejected", align: "right" }, {
        header: "margin, nats",
        align: "right",
      }],
      [[examples, `${(100 * accuracy).toFixed(1)} %`, margin.toFixed(3)]],
    ),
  };
}

async function evaluateAsRewards(
  loaded: LoadedModel,
  asked: DataEvalOptions,
  lines: AnswerLines,
  signal: AbortSignal,
): Promise<Measured> {
  const dataset = await untilAborted(evaluationData(asked.data, "grpo", asked), signal);
  for (const warning of dataWarnings(dataset)) console.error(`warning: ${warning}`);
  const modules = asked.rewards.length > 0 ? asked.rewards : ["builtin:accuracy"];
  const { RewardSandbox } = await import("../src/rewards/reward_sandbox.ts");
  await using sandbox = await RewardSandbox.start(modules.map((module) => ({ module })));
  const { samples, temperature = 1, seed = 42 } = asked;
  const result = await evaluateRewards(loaded, dataset, sandbox, {
    ...(samples === undefined ? {} : { sampling: { samples, temperature, seed } }),
    batchSize: asked.batchSize,
    maxNewTokens: asked.maxNewTokens,
    signal,
    onProgress: progressLine("answers scored"),
    onAnswer: ({ prompt, sample, answer, reward, rewards }) =>
      lines.write({
        question: prompt,
        ...(samples === undefined ? {} : { sample }),
        answer,
        reward,
        rewards,
      }),
  });
  const { examples, reward, rewards, spread } = result;
  return {
    scores: {
      examples,
      reward,
      rewards: Object.fromEntries(rewards),
      ...(spread === null ? {} : spreadRecord(spread)),
    },
    skipped: dataset.skipped,
    table: formatTable(
      [{ header: "reward" }, { header: "answers", align: "right" }, {
        header: "mean",
        align: "right",
      }],
      [
        ...[...rewards].map(([name, mean]) => [name, examples, mean.toFixed(4)]),
        ["all, weighted", examples, reward.toFixed(4)],
      ],
    ) + (spread === null ? "" : spreadTable(spread)),
  };
}

const EVALUATIONS = {
  vqa: evaluateAsVqa,
  preference: evaluateAsPreference,
  grpo: evaluateAsRewards,
};

/** The split that is measured. */
function splitOf({ data, split }: DataEvalOptions): string {
  return split ?? `${defaultSplit(data)} (the default; --split takes another)`;
}

/** @returns whether it came to its end */
async function evaluate(asked: DataEvalOptions, signal: AbortSignal): Promise<boolean> {
  const format = asked.format ??
    await untilAborted(formatOfData(asked.data, asked), signal);
  using opened = await openModel(asked, signal);
  using lines = new AnswerLines(asked.out);
  const started = performance.now();
  const measured = await EVALUATIONS[format](opened.loaded, asked, lines, signal);
  const seconds = (performance.now() - started) / 1000;
  if (signal.aborted) {
    console.error(cutShort(measured, asked));
    return false;
  }
  const { scores, skipped, table } = measured;
  for (const { place, reason } of skipped.rows.slice(0, 10)) {
    console.error(`skipped ${place}: ${reason}`);
  }
  if (skipped.count > 0) console.error(`${skipped.count} rows skipped`);
  console.error(`${format} on ${asked.data}, split ${splitOf(asked)}, ${seconds.toFixed(1)} s`);
  console.log(
    asked.json ? JSON.stringify({ ...scores, skipped: skipped.count, seconds }) : table.trimEnd(),
  );
  return true;
}

/** The partial result of an interrupted evaluation, marked as partial. */
function cutShort({ scores: { examples }, table }: Measured, { out }: EvalOptions): string {
  if (examples === 0) return "eval: no row was measured; the same command begins again";
  return `the first ${examples} rows alone:\n${table.trimEnd()}\n` +
    (out === undefined ? "" : `${out} has their answers, and every line of it is whole\n`) +
    "eval: the same command measures all rows from the beginning; --limit N measures the first N";
}

/** The command. */
export const command: Command = {
  name: "eval",
  summary: "measure a model on a data set",
  usage: "--model DIR (--data F | --benchmark NAME) [options], or compare FILE FILE…",
  options: evalOptions,
  notes: `benchmarks: ${
    BENCHMARK_NAMES.join(", ")
  }\n\ncompare FILE FILE…: results of --benchmark or --out beside each other, the first one as the baseline\n${
    describeOptions(compareOptions)
  }`,
  onInterrupt: "ending after this batch",
  async run(args, { signal }) {
    if (args[0] === "compare") return await compareResults(args.slice(1));
    const asked = parseEvalArguments(args);
    metricsOf(asked.metrics);
    const benchmark = namedBenchmark(asked);
    await checkNamedPaths([
      ["--model", "model", asked.model],
      ...namedModel("--adapter", asked.adapter),
      ...(asked.data === undefined ? [] : [["--data", "data", asked.data] as const]),
      ...asked.rewards.map((module): Named => ["--reward", "module", module]),
    ]);
    const done = benchmark === null
      ? await evaluate({ ...asked, data: asked.data! }, signal)
      : await evaluateBenchmark(benchmark, asked, signal);
    return done ? 0 : 130;
  },
};
