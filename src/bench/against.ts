/**
 * Another program that does the same work: run, read, compared.
 *
 * @module
 */
import type { Measured } from "./step_bench.ts";
import { median } from "./timing.ts";

/**
 * A command line's words; quotes hold words together.
 *
 * @throws {Error} if a quote is not closed
 */
export function splitCommand(command: string): string[] {
  const words: string[] = [];
  const word = /\s*((?:[^\s"']|"[^"]*"|'[^']*')+)/y;
  const text = command.trim();
  while (word.lastIndex < text.length) {
    const at = word.lastIndex;
    const match = word.exec(text);
    if (match === null) {
      throw new Error(`Cannot read the command ${command}: a quote at character ${at} stays open`);
    }
    words.push(match[1].replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
  }
  return words;
}

/** The numbers of the last line that is a JSON object; null if there is none. */
function lastNumbers(output: string): Measured | null {
  for (const line of output.trim().split("\n").reverse()) {
    if (!line.startsWith("{")) continue;
    try {
      const found = Object.entries(JSON.parse(line) as Record<string, unknown>)
        .filter((entry): entry is [string, number] => typeof entry[1] === "number");
      return Object.fromEntries(found);
    } catch {
      // A line of something else.
    }
  }
  return null;
}

/**
 * The command to spawn for a program. A child begins with the memory peak of its parent, which is us
 * with a model in memory; a shell in between has a small one to pass on.
 */
function throughShell(program: string, args: readonly string[]): [string, string[]] {
  if (Deno.build.os === "windows") return [program, [...args]];
  return ["/bin/sh", ["-c", '"$@"; exit $?', "sh", program, ...args]];
}

/**
 * Runs a command and reads the JSON object that it prints.
 *
 * @param command as a user types it; words and quotes alone, no variables or pipes
 * @throws {Error} if it cannot be run, fails, or prints no JSON object
 */
export async function runAgainst(command: string): Promise<Measured> {
  const [program, ...args] = splitCommand(command);
  if (program === undefined) throw new Error("Cannot run --against: the command is empty");
  let result: Deno.CommandOutput;
  try {
    const [spawned, words] = throughShell(program, args);
    result = await new Deno.Command(spawned, { args: words, stdout: "piped", stderr: "piped" })
      .output();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot run --against: ${program}: ${reason}`, { cause });
  }
  const decoder = new TextDecoder();
  if (!result.success) {
    const last = decoder.decode(result.stderr).trim().split("\n").slice(-3).join("\n");
    throw new Error(`Cannot compare: ${program} ended with exit code ${result.code}: ${last}`);
  }
  const numbers = lastNumbers(decoder.decode(result.stdout));
  if (numbers === null) {
    throw new Error(
      `Cannot compare: ${program} printed no line with a JSON object; does it want --json?`,
    );
  }
  return numbers;
}

/** A number of ours over that of the other program, over the rounds. */
export interface Ratio {
  readonly name: string;
  /** Medians over the rounds. */
  readonly ours: number;
  readonly theirs: number;
  /** Median of the rounds' ours / theirs. */
  readonly ratio: number;
  readonly smallest: number;
  readonly largest: number;
}

/** Whether a larger number is the better one. */
export function higherIsBetter(name: string): boolean {
  return name.endsWith("_per_s");
}

/** Ratios of the measurements that both sides have. */
export function compare(
  rounds: readonly { readonly ours: Measured; readonly theirs: Measured }[],
): Ratio[] {
  const names = Object.keys(rounds[0]?.ours ?? {}).filter((name) =>
    /_(s|mib|per_s)$/.test(name) &&
    rounds.every(({ ours, theirs }) => ours[name] !== undefined && theirs[name] > 0)
  );
  return names.map((name) => {
    const ratios = rounds.map(({ ours, theirs }) => ours[name] / theirs[name]);
    return {
      name,
      ours: median(rounds.map(({ ours }) => ours[name])),
      theirs: median(rounds.map(({ theirs }) => theirs[name])),
      ratio: median(ratios),
      smallest: Math.min(...ratios),
      largest: Math.max(...ratios),
    };
  });
}

/** Each number's median over the rounds. */
export function medians(rounds: readonly Measured[]): Measured {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [name, median(rounds.map((numbers) => numbers[name]))]),
  );
}
