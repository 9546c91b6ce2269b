/**
 * The options of `eval`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import { METRIC_NAMES } from "../src/evaluate/metrics/score_answer.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import { required } from "./required.ts";
import { UsageError } from "./usage_error.ts";

const FORMATS = ["vqa", "preference", "grpo"] as const;

/** What `eval` was asked for. */
export interface EvalOptions {
  readonly model: string;
  readonly adapter: string | undefined;
  /** A file, folder or Hub id; undefined for a benchmark, which has its own. */
  readonly data: string | undefined;
  /** A benchmark's name. */
  readonly benchmark: string | undefined;
  /** Answers a prompt, for `grpo`; undefined: one, greedy. */
  readonly samples: number | undefined;
  /** Of the sampling. */
  readonly temperature: number | undefined;
  /** Of the sampling. */
  readonly seed: number | undefined;
  /** undefined: as the columns tell. */
  readonly format: "vqa" | "preference" | "grpo" | undefined;
  readonly split: string | undefined;
  /** Configurations of a data set that has several; empty: its default one. */
  readonly configs: readonly string[];
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

/** What an evaluation of data was asked for. */
export type DataEvalOptions = EvalOptions & { readonly data: string };

/** What `eval` takes. */
export const evalOptions: readonly OptionSpec[] = [
  { name: "model", kind: "text", value: "DIR", summary: "a nanoVLM folder or Hub id" },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter on top of it" },
  { name: "data", kind: "text", value: "F", summary: "a file, folder or Hub id" },
  {
    name: "benchmark",
    kind: "text",
    value: "NAME",
    summary: "its data, prompts and metric; --data: a copy of its data; names are below",
  },
  {
    name: "format",
    kind: "text",
    choices: FORMATS,
    summary: "vqa: exact match; preference: chosen over rejected; grpo: mean reward",
  },
  {
    name: "name",
    kind: "list",
    value: "CONFIG",
    summary: "a configuration of a data set with several; all: every one",
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
  {
    name: "samples",
    kind: "integer",
    min: 2,
    value: "N",
    summary: "grpo: sample N answers a prompt: pass@k and spread",
  },
  {
    name: "temperature",
    kind: "number",
    min: 0.01,
    value: "X",
    summary: "with --samples: of the sampling (1)",
  },
  { name: "seed", kind: "integer", min: 0, value: "N", summary: "with --samples (42)" },
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
  const parsed = parseOptions(args, evalOptions);
  const configs = parsed.list("name");
  if (configs.length > 0 && parsed.text("benchmark") !== undefined) {
    throw new UsageError("--name excludes --benchmark, which has its own configuration");
  }
  return {
    model: required(parsed, "model"),
    adapter: parsed.text("adapter"),
    data: parsed.text("benchmark") === undefined ? required(parsed, "data") : parsed.text("data"),
    benchmark: parsed.text("benchmark"),
    samples: parsed.number("samples"),
    temperature: parsed.number("temperature"),
    seed: parsed.number("seed"),
    format: FORMATS.find((format) => format === parsed.text("format")),
    split: parsed.text("split"),
    configs,
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
