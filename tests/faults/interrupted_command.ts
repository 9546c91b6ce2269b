/**
 * Commands that get signals while they run.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Outcome } from "./command_line.ts";

const MAIN = new URL("../../mod.ts", import.meta.url).pathname;

/** Signals in their order, each with what is to be seen before it. */
export type Signals = readonly [pattern: RegExp, signal: Deno.Signal][];

/** Runs a command; each time that the pattern of a signal shows up in stderr, the signal is sent. */
export async function command(args: readonly string[], signals: Signals = []): Promise<Outcome> {
  const child = start(args);
  let stderr = "";
  let sent = 0;
  for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
    stderr += text;
    if (sent < signals.length && signals[sent][0].test(stderr)) child.kill(signals[sent++][1]);
  }
  const { code } = await child.status;
  assertEquals(sent, signals.length, stderr);
  return { code, stdout: "", stderr };
}

/** Starts a command. */
export function start(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", MAIN, ...args],
    stdout: "null",
    stderr: "piped",
  }).spawn();
}
