/**
 * `doctor`.
 *
 * @module
 */
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";

/** What `doctor` was asked for. */
export interface DoctorOptions {
  readonly json: boolean;
}

const options: readonly OptionSpec[] = [
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `doctor`.
 *
 * @throws {UsageError}
 */
export function parseDoctorArguments(args: readonly string[]): DoctorOptions {
  const parsed = parseOptions(args, options);
  return { json: parsed.flag("json") };
}

/** The command. */
export const command: Command = {
  name: "doctor",
  summary: "show what this machine has, and what is missing",
  usage: "[--json]",
  options,
  run(args) {
    parseDoctorArguments(args);
    return Promise.reject(new Error("doctor is not there yet"));
  },
};
