/**
 * `merge`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { required } from "./required.ts";

/** What `merge` was asked for. */
export interface MergeOptions {
  readonly model: string;
  readonly adapter: string;
  readonly out: string;
  readonly backend: BackendChoice | undefined;
}

const options: readonly OptionSpec[] = [
  {
    name: "model",
    kind: "text",
    value: "DIR",
    summary: "the model that the adapter was trained on",
  },
  { name: "adapter", kind: "text", value: "DIR", summary: "a PEFT adapter: LoRA or DoRA" },
  { name: "out", kind: "text", value: "DIR", summary: "where the merged model goes" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
];

/**
 * Parses the arguments of `merge`.
 *
 * @throws {UsageError}
 */
export function parseMergeArguments(args: readonly string[]): MergeOptions {
  const parsed = parseOptions(args, options);
  return {
    model: required(parsed, "model"),
    adapter: required(parsed, "adapter"),
    out: required(parsed, "out"),
    backend: parsed.text("backend") as BackendChoice | undefined,
  };
}

/** The command. */
export const command: Command = {
  name: "merge",
  summary: "fold an adapter into its model's weights",
  usage: "--model DIR --adapter DIR --out DIR",
  options,
  run(args) {
    parseMergeArguments(args);
    return Promise.reject(new Error("merge is not there yet"));
  },
};
