/**
 * `eval`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
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
    rewards: parsed.list("reward"),
    maxNewTokens: parsed.number("max-new-tokens"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** The command. */
export const command: Command = {
  name: "eval",
  summary: "measure a model on a data set",
  usage: "--model DIR --data F [options]",
  options,
  run(args) {
    parseEvalArguments(args);
    return Promise.reject(new Error("eval is not there yet"));
  },
};
