/**
 * `parity`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";

/** What `parity` was asked for. */
export interface ParityOptions {
  /** A fixtures folder. */
  readonly folder: string;
  readonly backend: BackendChoice | undefined;
  /** Cases whose name has this in it. */
  readonly only: string | undefined;
}

const options: readonly OptionSpec[] = [
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  { name: "only", kind: "text", value: "NAME", summary: "only cases with this in their name" },
];

/**
 * Parses the arguments of `parity`.
 *
 * @throws {UsageError}
 */
export function parseParityArguments(args: readonly string[]): ParityOptions {
  const parsed = parseOptions(args, options, ["a fixtures folder"]);
  return {
    folder: parsed.positionals[0],
    backend: parsed.text("backend") as BackendChoice | undefined,
    only: parsed.text("only"),
  };
}

/** The command. */
export const command: Command = {
  name: "parity",
  summary: "replay recorded cases of the Python reference",
  usage: "DIR [options]",
  options,
  run(args) {
    parseParityArguments(args);
    return Promise.reject(new Error("parity is not there yet"));
  },
};
