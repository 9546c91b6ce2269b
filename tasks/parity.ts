/**
 * `parity`.
 *
 * @module
 */
import { BACKEND_CHOICES, type BackendChoice } from "../src/config/schema/device_backend.ts";
import { type OptionSpec, parseOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { checkNamedPaths } from "./named_paths.ts";
import { UsageError } from "./usage_error.ts";

/** What `parity` was asked for. */
export interface ParityOptions {
  /** A fixtures folder. */
  readonly folder: string;
  readonly backend: BackendChoice | undefined;
  /** How the names of the cases begin. */
  readonly only: string | undefined;
  /** A line for every comparison. */
  readonly all: boolean;
}

const options: readonly OptionSpec[] = [
  { name: "backend", kind: "text", choices: BACKEND_CHOICES, summary: "where to compute" },
  { name: "only", kind: "text", value: "NAME", summary: "only cases whose name begins so: lora" },
  { name: "all", kind: "flag", summary: "a line for every comparison, not for every kind" },
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
    all: parsed.flag("all"),
  };
}

/** Replays the cases of the folder and prints a line for each kind when it is done. */
async function replay({ folder, backend, only, all }: ParityOptions): Promise<number> {
  const { PARITY_NAMES, replayFixtures } = await import("../src/parity/replay.ts");
  if (only !== undefined && !PARITY_NAMES.some((name) => only.startsWith(name))) {
    throw new UsageError(
      `--only: got ${JSON.stringify(only)}, want a name that begins with one of ` +
        PARITY_NAMES.join(", "),
    );
  }
  const { initBackend } = await import("../src/device/backend.ts");
  const { PARITY_HEADING, parityLines } = await import("../src/parity/parity_table.ts");
  const { assertNoGpuErrors } = await import("../src/device/gpu_errors.ts");
  const active = await initBackend({ backend: backend ?? "auto" });
  console.error(`backend ${active.reason}`);
  let compared = 0, failed = 0;
  for await (const results of replayFixtures(folder.replace(/\/+$/, ""), only)) {
    if (compared === 0) console.log(PARITY_HEADING);
    for (const line of parityLines(results, all)) console.log(line);
    compared += results.length;
    failed += results.filter(({ ok }) => !ok).length;
  }
  assertNoGpuErrors();
  if (compared === 0) {
    throw new Error(
      `${folder} has nothing to replay` +
        (only === undefined ? "" : ` whose name begins with ${only}`) +
        ": want a fixtures folder with model/, tokenizer/, train/, …",
    );
  }
  console.log(`${compared} comparisons on ${active.name}, ${failed} out of tolerance`);
  return failed === 0 ? 0 : 1;
}

/** The command. */
export const command: Command = {
  name: "parity",
  summary: "replay recorded cases of the Python reference",
  usage: "DIR [options]",
  options,
  async run(args) {
    const asked = parseParityArguments(args);
    await checkNamedPaths([["DIR", "folder", asked.folder]]);
    return await replay(asked);
  },
};
