/**
 * The command line: finds the command, runs it, turns the outcome into an exit code.
 *
 * @module
 */
import { cleanText } from "../src/clean_text.ts";
import { ConfigError } from "../src/config/config_error.ts";
import { nearestName } from "../src/config/nearest.ts";
import { launch } from "../src/distributed/launcher.ts";
import { describeOptions } from "./arguments.ts";
import type { Command } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { UsageError } from "./usage_error.ts";
import { VERSION } from "./version.ts";

/** Exit codes. */
const DONE = 0, FAILED = 1, WRONG_USE = 2, INTERRUPTED = 130;

/**
 * Runs the command line.
 *
 * @param args `Deno.args`
 * @returns the exit code: 0 done, 1 failed, 2 wrong command line or config, 130 interrupted
 */
export async function main(args: readonly string[]): Promise<number> {
  takeVulkanAlone();
  const [name, ...rest] = args;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    return name === "help" && rest.length > 0 ? await main([rest[0], "--help"]) : help(name);
  }
  if (name === "--version" || name === "-V") {
    console.log(VERSION);
    return DONE;
  }
  const entry = COMMANDS.get(name);
  if (entry === undefined) {
    const nearest = nearestName(name, COMMANDS.keys());
    console.error(
      `there is no command ${name}` + (nearest === undefined ? "" : `; did you mean ${nearest}?`) +
        `\ncommands: ${[...COMMANDS.keys()].join(", ")}`,
    );
    return WRONG_USE;
  }
  const own = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  const verbose = own.includes("--verbose") || debugging();
  try {
    const command = await entry.load();
    if (own.includes("--help") || own.includes("-h")) {
      console.log(commandHelp(command));
      return DONE;
    }
    return await runWithInterrupts(command, rest);
  } catch (error) {
    if (rankPrefix() !== "") await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
    return report(error, name, verbose);
  }
}

/**
 * On Linux an adapter is sought by Vulkan alone, unless the user chose otherwise: OpenGL's adapters
 * are too small for training, and libEGL may damage the heap of a process that exits while its
 * threads end (docs/runs/exit_crash.md).
 */
function takeVulkanAlone(): void {
  const name = "DENO_WEBGPU_BACKEND";
  if (Deno.build.os !== "linux") return;
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return;
  if (!Deno.env.has(name)) Deno.env.set(name, "vulkan");
}

function help(name: string | undefined): number {
  const width = Math.max(...[...COMMANDS.keys()].map((command) => command.length));
  const lines = [...COMMANDS].map(([command, { summary }]) =>
    `  ${command.padEnd(width)}  ${summary}`
  );
  const text = `nanovlm ${VERSION}: train nanoVLM on WebGPU

usage: deno task COMMAND [options]
       deno run -A jsr:@nanovlm/lab COMMAND [options]

${lines.join("\n")}

COMMAND --help shows a command's options. Start with: deno task train sft`;
  if (name !== undefined) {
    console.log(text);
    return DONE;
  }
  console.error(text);
  return WRONG_USE;
}

function commandHelp({ name, summary, usage, options, notes }: Command): string {
  return `${name}: ${summary}

usage: deno task ${name} ${usage}

${describeOptions(options)}${notes === undefined ? "" : `\n\n${notes}`}`;
}

/**
 * Signals that ask a run to end: Ctrl-C, and what `kill` and job schedulers send. `mpirun` hands SIGUSR2
 * on to its processes and, unlike after SIGTERM, leaves them the time to save.
 */
function stopSignals(): readonly Deno.Signal[] {
  if (Deno.build.os === "windows") return ["SIGINT"];
  return launch() === null ? ["SIGINT", "SIGTERM"] : ["SIGINT", "SIGTERM", "SIGUSR2"];
}

/** How long a rank beside rank 0 waits before it fails: rank 0 may be writing why it fails itself. */
const LAST_WORDS_MS = 3000;

/** In front of what a rank beside rank 0 says. */
function rankPrefix(): string {
  const rank = launch()?.rank ?? 0;
  return rank === 0 ? "" : `rank ${rank} (${Deno.hostname()}): `;
}

/** The first Ctrl-C lets the command end well; the second ends the process. */
async function runWithInterrupts(command: Command, args: readonly string[]): Promise<number> {
  const { name, onInterrupt } = command;
  const controller = new AbortController();
  const { signal } = controller;
  const signals = stopSignals();
  const unlisten = () => {
    for (const stop of signals) Deno.removeSignalListener(stop, listener);
  };
  const listener = () => {
    // Without a listener the next signal ends the process even during a long batch.
    unlisten();
    if (onInterrupt === undefined) Deno.exit(INTERRUPTED);
    const again = signals.includes("SIGUSR2") ? "the signal" : "Ctrl-C";
    console.error(`\n${rankPrefix()}interrupted: ${onInterrupt}; ${again} again stops at once`);
    controller.abort(new DOMException("interrupted", "AbortError"));
  };
  for (const stop of signals) Deno.addSignalListener(stop, listener);
  try {
    return await command.run(args, { signal });
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    console.error(`${name}: there was nothing to save yet; the same command begins again`);
    return INTERRUPTED;
  } finally {
    if (!signal.aborted) unlisten();
  }
}

function report(error: unknown, command: string, verbose: boolean): number {
  const prefix = rankPrefix();
  if (error instanceof UsageError) {
    console.error(
      `${prefix}${command}: ${
        cleanText(error.message)
      }\ndeno task ${command} --help shows the options`,
    );
    return WRONG_USE;
  }
  if (error instanceof ConfigError) {
    console.error(prefix + cleanText(error.message));
    return WRONG_USE;
  }
  const failure = error instanceof Error ? error : new Error(String(error));
  let told = `${prefix}${command} failed: ${cleanText(failure.message)}`;
  console.error(told);
  const refused = refusedPermission(failure);
  if (refused !== null) {
    console.error(
      `a permission is missing: add ${refused} to the command (the README's table "Permissions" ` +
        `has what ${command} needs; -A gives all), or run deno task ${command}`,
    );
  }
  for (let cause = failure.cause; cause instanceof Error; cause = cause.cause) {
    if (told.includes(cause.message)) continue; // many messages end in what caused them
    told += `\n${cause.message}`;
    console.error(`  because: ${cleanText(cause.message)}`);
  }
  if (verbose) console.error(failure.stack);
  else console.error("--verbose shows where it came from");
  return FAILED;
}

/** The flag that grants what was refused; null if an error is another one. */
function refusedPermission(error: Error): string | null {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof Deno.errors.NotCapable) {
      return /--allow-[a-z]+/.exec(cause.message)?.[0] ?? "the permission";
    }
  }
  return null;
}

/** Whether NANOVLM_DEBUG is set; false if the environment may not be read. */
function debugging(): boolean {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "NANOVLM_DEBUG" });
  return state === "granted" && !["", "0"].includes(Deno.env.get("NANOVLM_DEBUG") ?? "");
}
