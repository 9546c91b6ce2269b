/**
 * `eval`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import type { SkippedRows } from "../src/data/rows/skipped_rows.ts";
import { evaluatePreference } from "../src/evaluate/evaluate_preference.ts";
import { evaluateRewards } from "../src/evaluate/evaluate_rewards.ts";
import { evaluateVqa } from "../src/evaluate/evaluate_vqa.ts";
import { METRIC_NAMES } from "../src/evaluate/metrics/score_answer.ts";
import { dataWarnings } from "../src/data/data_notes.ts";
import { defaultSplit, evaluationData, formatOfData } from "../src/evaluate/evaluation_data.ts";
import type { LoadedModel } from "../src/generate/load_model.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";
import { untilAborted } from "../src/until_aborted.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { metricsOf, metricsRecord, metricsTable } from "./eval_metrics.ts";
import { checkNamedPaths, type Named, namedModel } from "./named_paths.ts";
import { openModel } from "./open_model.ts";
import { required } from "./required.ts";

const FORMATS = ["vqa", "preference", "grpo"] as const;

/** What `eval` was asked for. */
export interface EvalOptions {
  readonly model: string;
  readonly adapter: string | undefined;
  /** A file, folder or Hub id. */
  readonly data: string;
  /** undefined: as the columns tell. */
  readonly format: "vqa" | "preference" | "grpo" | undefined;
  readonly split: string | undefined;
  readonly limit: number | undefined;
  readonly batchSize: number | undefined;
  /** Where each answer goes, as a line of JSON. */
  readonly out: string | undefined;
  readonly json: boolean;
  /** Keep the earlier turns of a conversation in each question. */
  readonly withHistory: boolean;
  /** Metrics beside exact match, for `vqa`: NAME or NAME:STYLE. */
  readonly metrics: readonly string[];
  /** Column whose values group the metrics. */
  readonly by: string | undefined;
  /** Reward modules, for `grpo`. */
  readonly rewards: readonly string[];
  readonly maxNewTokens: number | undefined;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", value: "DIR", summary: "a nanoVLM folder or Hub id" },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter on top of it" },
  { name: "data", kind: "text", value: "F", summary: "a file, folder or Hub id" },
  {
    name: "format",
    kind: "text",
    choices: FORMATS,
    summary: "vqa: exact match; preference: chosen over rejected; grpo: mean reward",
  },
  { name: "split", kind: "text", value: "S", summary: "the split, slices included: test[:100]" },
  { name: "limit", kind: "integer", min: 1, value: "N", summary: "at most so many rows" },
  { name: "batch-size", kind: "integer", min: 1, value: "N", summary: "rows a batch" },
  { name: "out", kind: "text", value: "F.jsonl", summary: "write each answer as a line" },
  { name: "with-history", kind: "flag", summary: "vqa: ask with the earlier turns" },
  {
    name: "metric",
    kind: "list",
    value: "NAME[:STYLE]",
    summary: `vqa: score by this too: ${METRIC_NAMES.join(", ")}`,
  },
  { name: "by", kind: "text", value: "COLUMN", summary: "vqa: the metrics for each value of it" },
  { name: "reward", kind: "list", value: "MODULE", summary: "grpo: a reward module" },
  {
    name: "max-new-tokens",
    kind: "integer",
    min: 1,
    value: "N",
    summary: "longest answer, in tokens",
  },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `eval`.
 *
 * @throws {UsageError}
 */
export function parseEvalArguments(args: readonly string[]): EvalOptions {
  const parsed = parseOptions(args, options);
  return {
    model: required(parsed, "model"),
    adapter: parsed.text("adapter"),
    data: required(parsed, "data"),
    format: FORMATS.find((format) => format === parsed.text("format")),
    split: parsed.text("split"),
    limit: parsed.number("limit"),
    batchSize: parsed.number("batch-size"),
    out: parsed.text("out"),
    json: parsed.flag("json"),
    withHistory: parsed.flag("with-history"),
    metrics: parsed.list("metric"),
    by: parsed.text("by"),
    rewards: parsed.list("reward"),
    maxNewTokens: parsed.number("max-new-tokens"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

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

/** Says every few seconds how far it is. */
function progressLine(what: string): (done: number) => void {
  const started = performance.now();
  let last = started;
  return (done) => {
    const now = performance.now();
    if (now - last < 5000) return;
    last = now;
    const rate = done / ((now - started) / 1000);
    console.error(`${done} ${what} (${rate.toFixed(1)}/s)`);
  };
}

async function evaluateAsVqa(
  loaded: LoadedModel,
  asked: EvalOptions,
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
  asked: EvalOptions,
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
  asked: EvalOptions,
  lines: AnswerLines,
  signal: AbortSignal,
): Promise<Measured> {
  const dataset = await untilAborted(evaluationData(asked.data, "grpo", asked), signal);
  for (const warning of dataWarnings(dataset)) console.error(`warning: ${warning}`);
  const modules = asked.rewards.length > 0 ? asked.rewards : ["builtin:accuracy"];
  const { RewardSandbox } = await import("../src/rewards/reward_sandbox.ts");
  await using sandbox = await RewardSandbox.start(modules.map((module) => ({ module })));
  const { examples, reward, rewards } = await evaluateRewards(loaded, dataset, sandbox, {
    batchSize: asked.batchSize,
    maxNewTokens: asked.maxNewTokens,
    signal,
    onProgress: progressLine("answers scored"),
    onAnswer: ({ prompt, answer, reward, rewards }) =>
      lines.write({ question: prompt, answer, reward, rewards }),
  });
  return {
    scores: { examples, reward, rewards: Object.fromEntries(rewards) },
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
    ),
  };
}

const EVALUATIONS = {
  vqa: evaluateAsVqa,
  preference: evaluateAsPreference,
  grpo: evaluateAsRewards,
};

/** The split that is measured. */
function splitOf({ data, split }: EvalOptions): string {
  return split ?? `${defaultSplit(data)} (the default; --split takes another)`;
}

/** @returns whether it came to its end */
async function evaluate(asked: EvalOptions, signal: AbortSignal): Promise<boolean> {
  const format = asked.format ??
    await untilAborted(formatOfData(asked.data, asked.split), signal);
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
  usage: "--model DIR --data F [options]",
  options,
  onInterrupt: "ending after this batch",
  async run(args, { signal }) {
    const asked = parseEvalArguments(args);
    metricsOf(asked.metrics);
    await checkNamedPaths([
      ["--model", "model", asked.model],
      ...namedModel("--adapter", asked.adapter),
      ["--data", "data", asked.data],
      ...asked.rewards.map((module): Named => ["--reward", "module", module]),
    ]);
    return await evaluate(asked, signal) ? 0 : 130;
  },
};
