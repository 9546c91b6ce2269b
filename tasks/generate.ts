/**
 * `generate`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { required } from "./required.ts";

/** What `generate` was asked for. */
export interface GenerateOptions {
  readonly model: string;
  readonly adapter: string | undefined;
  /** Paths of pictures, in the order in which the prompt sees them. */
  readonly images: readonly string[];
  readonly prompt: string;
  readonly maxNewTokens: number;
  readonly greedy: boolean;
  readonly temperature: number;
  /** 0 and 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly topK: number;
  readonly seed: number;
  readonly json: boolean;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", value: "DIR", summary: "a nanoVLM folder or Hub id" },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter on top of it" },
  { name: "image", kind: "list", value: "F", summary: "a picture; again for more" },
  { name: "prompt", kind: "text", value: "T", summary: "the question" },
  {
    name: "max-new-tokens",
    kind: "integer",
    min: 1,
    value: "N",
    summary: "longest answer, in tokens (256)",
  },
  { name: "greedy", kind: "flag", summary: "take the likeliest token each time" },
  {
    name: "temperature",
    kind: "number",
    min: 0,
    value: "X",
    summary: "of sampling (1); 0: greedy",
  },
  { name: "top-p", kind: "number", min: 0, max: 1, value: "X", summary: "nucleus sampling (off)" },
  { name: "top-k", kind: "integer", min: 0, value: "N", summary: "the k likeliest tokens (off)" },
  { name: "seed", kind: "integer", min: 0, value: "N", summary: "of sampling (0)" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `generate`.
 *
 * @throws {UsageError}
 */
export function parseGenerateArguments(args: readonly string[]): GenerateOptions {
  const parsed = parseOptions(args, options);
  const temperature = parsed.number("temperature") ?? 1;
  return {
    model: required(parsed, "model"),
    adapter: parsed.text("adapter"),
    images: parsed.list("image"),
    prompt: required(parsed, "prompt"),
    maxNewTokens: parsed.number("max-new-tokens") ?? 256,
    greedy: parsed.flag("greedy") || temperature === 0,
    temperature: temperature === 0 ? 1 : temperature,
    topP: parsed.number("top-p") ?? 1,
    topK: parsed.number("top-k") ?? 0,
    seed: parsed.number("seed") ?? 0,
    json: parsed.flag("json"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** The command. */
export const command: Command = {
  name: "generate",
  summary: "ask a model about pictures",
  usage: "--model DIR --prompt T [options]",
  options,
  run(args) {
    parseGenerateArguments(args);
    return Promise.reject(new Error("generate is not there yet"));
  },
};
