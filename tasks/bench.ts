/**
 * `bench`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { UsageError } from "./usage_error.ts";

/** The benchmarks. */
export const BENCHMARKS = ["ops", "step", "decode", "grpo-step", "memory"] as const;

/** What `bench` was asked for. */
export interface BenchOptions {
  /** undefined: all of them. */
  readonly what: typeof BENCHMARKS[number] | undefined;
  readonly model: "tiny" | "230m";
  readonly backend: BackendChoice | undefined;
  /** A command whose numbers are compared with ours. */
  readonly against: string | undefined;
  readonly json: boolean;
}

const options: readonly OptionSpec[] = [
  { name: "model", kind: "text", choices: ["tiny", "230m"], summary: "its size (tiny)" },
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  {
    name: "against",
    kind: "text",
    value: '"PYTHON SCRIPT …"',
    summary: "run this too, and print the ratios",
  },
  {
    name: "json",
    kind: "flag",
    summary: "print one JSON object on stdout, and nothing else there",
  },
];

/**
 * Parses the arguments of `bench`.
 *
 * @throws {UsageError}
 */
export function parseBenchArguments(args: readonly string[]): BenchOptions {
  const parsed = parseOptions(args, options, ["[benchmark]"]);
  const [given] = parsed.positionals;
  const what = BENCHMARKS.find((name) => name === given);
  if (given !== undefined && what === undefined) {
    throw new UsageError(`got ${JSON.stringify(given)}, want one of ${BENCHMARKS.join(", ")}`);
  }
  return {
    what,
    model: parsed.text("model") === "230m" ? "230m" : "tiny",
    backend: parsed.text("backend") as BackendChoice | undefined,
    against: parsed.text("against"),
    json: parsed.flag("json"),
  };
}

/** The command. */
export const command: Command = {
  name: "bench",
  summary: "run the benchmarks",
  usage: "[ops|step|decode|grpo-step|memory] [options]",
  options,
  run(args) {
    parseBenchArguments(args);
    return Promise.reject(new Error("bench is not there yet: this version has no benchmarks"));
  },
};
