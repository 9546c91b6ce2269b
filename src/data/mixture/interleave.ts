/**
 * In which order the rows of several data sets are taken.
 *
 * Source: `datasets.interleave_datasets` (5.2), to the row, for data sets of known length. A stream
 * gives the same rows in the same order; `datasets` ends an `IterableDataset` without probabilities
 * some rows earlier.
 *
 * @module
 */
import { DataError } from "../data_error.ts";
import { PCG64 } from "../splits/numpy_random.ts";

/** When a mixture ends; see {@linkcode interleavePlan}. */
export const STOPPING_STRATEGIES = [
  "first_exhausted",
  "all_exhausted",
  "all_exhausted_without_replacement",
] as const;

/** When a mixture ends. */
export type StoppingStrategy = (typeof STOPPING_STRATEGIES)[number];

/** How data sets are mixed. */
export interface InterleaveOptions {
  /** How often each set is drawn, sum 1; null: one row of each in turn. */
  readonly probabilities: readonly number[] | null;
  readonly stoppingStrategy: StoppingStrategy;
  /** Of the draws. */
  readonly seed: number;
}

/** Most rows that a plan may have. */
const MOST_ROWS = 50_000_000;

/** Draws the set that the next row comes from. */
class SetDraws {
  readonly #random: PCG64;
  readonly #upTo: readonly number[] | null;
  readonly #sets: number;
  #turn = 0;

  constructor({ probabilities, seed }: InterleaveOptions, sets: number) {
    this.#random = new PCG64(seed);
    this.#sets = sets;
    if (probabilities === null) {
      this.#upTo = null;
      return;
    }
    // `Generator.choice`: sums of the probabilities, divided by the last one.
    let sum = 0;
    const sums = probabilities.map((probability) => sum += probability);
    this.#upTo = sums.map((one) => one / sum);
  }

  /** Whether each set was drawn as often as the others; with probabilities always. */
  get mayStop(): boolean {
    return this.#upTo !== null || this.#turn === 0;
  }

  next(): number {
    if (this.#upTo === null) {
      const set = this.#turn;
      this.#turn = (set + 1) % this.#sets;
      return set;
    }
    const drawn = this.#random.nextDouble();
    return this.#upTo.findIndex((bound) => drawn < bound);
  }
}

/** Decides which set the next row comes from, and when the mixture ends. */
export class Interleaver {
  readonly #draws: SetDraws;
  readonly #exhausted: boolean[];
  readonly #strategy: StoppingStrategy;

  /** @param sets how many data sets are mixed */
  constructor(options: InterleaveOptions, sets: number) {
    this.#draws = new SetDraws(options, sets);
    this.#exhausted = new Array<boolean>(sets).fill(false);
    this.#strategy = options.stoppingStrategy;
  }

  /** Tells that the last row of a set was taken. */
  exhaust(set: number): void {
    this.#exhausted[set] = true;
  }

  /** The set of the next row; null: the mixture has ended. */
  next(): number | null {
    for (;;) {
      const isOver = this.#strategy === "first_exhausted"
        ? this.#draws.mayStop && this.#exhausted.includes(true)
        : this.#strategy === "all_exhausted"
        ? this.#draws.mayStop && !this.#exhausted.includes(false)
        : !this.#exhausted.includes(false);
      if (isOver) return null;
      const set = this.#draws.next();
      const isUsedUp = this.#strategy === "all_exhausted_without_replacement" &&
        this.#exhausted[set];
      if (!isUsedUp) return set;
    }
  }
}

/** The rows of a mixture in order. */
export interface InterleavePlan {
  /** The data set of each row. */
  readonly sets: Uint16Array;
  /** The row within its data set, counted on where the set begins again: n is its row n mod length. */
  readonly draws: Uint32Array;
}

/**
 * The rows of a mixture of data sets whose lengths are known.
 *
 * `first_exhausted`: it ends when one set has given its last row. `all_exhausted`: when each has;
 * a set that is used up begins again. `all_exhausted_without_replacement`: each row once.
 *
 * @param lengths rows of each set, 1 or more
 * @throws {DataError} if the mixture would have more than 50 million rows
 *
 * @example As `interleave_datasets([a, b], probabilities=[0.5, 0.5], seed=42)`
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { interleavePlan } from "./interleave.ts";
 *
 * const plan = interleavePlan([2, 9], {
 *   probabilities: [0.5, 0.5],
 *   stoppingStrategy: "first_exhausted",
 *   seed: 42,
 * });
 * assertEquals([...plan.sets], [1, 0, 1, 1, 0]);
 * ```
 */
export function interleavePlan(
  lengths: readonly number[],
  options: InterleaveOptions,
): InterleavePlan {
  const { stoppingStrategy } = options;
  const rows = expectedRows(lengths, options);
  if (rows > MOST_ROWS) {
    throw new DataError(
      `Cannot mix data sets of ${lengths.join(", ")} rows: with stopping_strategy ` +
        `${stoppingStrategy} the mixture has about ${Math.round(rows)} rows, more than ` +
        `${MOST_ROWS}; use first_exhausted, or raise the share of the largest set`,
    );
  }
  const interleaver = new Interleaver(options, lengths.length);
  const sets: number[] = [], draws: number[] = [];
  const drawn = lengths.map(() => 0);
  for (let set = interleaver.next(); set !== null; set = interleaver.next()) {
    sets.push(set);
    draws.push(drawn[set]++);
    if (drawn[set] === lengths[set]) interleaver.exhaust(set);
  }
  return { sets: Uint16Array.from(sets), draws: Uint32Array.from(draws) };
}

/** About how many rows a mixture has. */
function expectedRows(
  lengths: readonly number[],
  { probabilities, stoppingStrategy }: InterleaveOptions,
): number {
  if (stoppingStrategy === "all_exhausted_without_replacement") {
    return lengths.reduce((sum, length) => sum + length, 0);
  }
  const needed = lengths.map((length, i) => length / (probabilities?.[i] ?? 1 / lengths.length));
  return stoppingStrategy === "first_exhausted" ? Math.min(...needed) : Math.max(...needed);
}
