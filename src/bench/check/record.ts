/**
 * The record that `bench check` compares with: for each machine and backend, how often the yardstick
 * fits into each benchmark.
 *
 * @module
 */
import { higherIsBetter } from "../against.ts";
import type { BenchModelName } from "../bench_work.ts";

/** Ratios of one machine. */
export interface RecordEntry {
  readonly cpu: string;
  readonly backend: string;
  readonly model: BenchModelName;
  readonly threads: number;
  readonly clock: "wall" | "cpu";
  /** When it was taken, YYYY-MM-DD. */
  readonly date: string;
  /** Benchmark to yardstick, by name: lower is better, but for names in `_per_s`. */
  readonly ratios: Readonly<Record<string, number>>;
  /** Largest over smallest ratio of the rounds, by name. */
  readonly spread: Readonly<Record<string, number>>;
}

/** What decides whether two entries can be compared. */
export type EntryKey = Pick<RecordEntry, "cpu" | "backend" | "model" | "threads" | "clock">;

const KEY = ["cpu", "backend", "model", "threads", "clock"] as const;

/** The entry of a record for the same machine and work; null if there is none. */
export function findEntry(record: readonly RecordEntry[], key: EntryKey): RecordEntry | null {
  return record.find((entry) => KEY.every((name) => entry[name] === key[name])) ?? null;
}

/** A record with an entry in the place of the one for the same machine and work. */
export function withEntry(record: readonly RecordEntry[], entry: RecordEntry): RecordEntry[] {
  const before = findEntry(record, entry);
  return before === null
    ? [...record, entry]
    : record.map((other) => other === before ? entry : other);
}

/** A benchmark beside its record. */
export interface CheckedRow {
  readonly name: string;
  readonly now: number;
  /** null: the record has no such row. */
  readonly then: number | null;
  /** How much worse it is: 1.2 needs a fifth more time, or gives a sixth fewer tokens. */
  readonly worse: number | null;
  readonly verdict: "worse" | "better" | "same" | "new";
}

/**
 * Compares ratios with those of a record. A row is worse or better if it changed by more than
 * `margin`, and by more than it varied between the rounds of either measurement.
 *
 * @param margin 0.1: a tenth
 */
export function compareWithRecord(
  now: Pick<RecordEntry, "ratios" | "spread">,
  then: Pick<RecordEntry, "ratios" | "spread"> | null,
  margin: number,
): CheckedRow[] {
  return Object.entries(now.ratios).map(([name, ratio]) => {
    const before = then?.ratios[name];
    if (then === null || before === undefined) {
      return { name, now: ratio, then: null, worse: null, verdict: "new" };
    }
    const worse = higherIsBetter(name) ? before / ratio : ratio / before;
    const bound = Math.max(1 + margin, now.spread[name] ?? 1, then.spread[name] ?? 1);
    const verdict = worse > bound ? "worse" : 1 / worse > bound ? "better" : "same";
    return { name, now: ratio, then: before, worse, verdict };
  });
}

/**
 * Reads a record.
 *
 * @returns no entries if there is no file
 * @throws {Error} if the file holds something else
 */
export async function readRecord(path: string): Promise<RecordEntry[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`Cannot read the record ${path}: it is not JSON; write it with --write`, {
      cause,
    });
  }
  const isEntry = (entry: unknown): entry is RecordEntry =>
    typeof entry === "object" && entry !== null && KEY.every((name) => name in entry) &&
    "ratios" in entry && "spread" in entry;
  if (!Array.isArray(value) || !value.every(isEntry)) {
    throw new Error(
      `Cannot read the record ${path}: want a list of entries with ${KEY.join(", ")}, ratios and ` +
        "spread, as --write writes it",
    );
  }
  return value;
}
