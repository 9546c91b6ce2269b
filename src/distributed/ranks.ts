/**
 * The processes that train one model together: their number, and what they do together.
 *
 * Every rank makes the same calls in the same order. Each call waits for the others.
 *
 * @module
 */

/** Numbers that can be summed over ranks. */
export type Summable = Float32Array | Float64Array | Int32Array;

/** How long a call may wait for the other ranks. */
export interface WaitOptions {
  /** Set if the others may be away for long, as while rank 0 saves: there is no time limit then. */
  readonly patient?: boolean;
}

/** The processes of a run. */
export interface Ranks {
  /** Number of this process, from 0. Rank 0 writes the files of the run. */
  readonly rank: number;
  /** How many processes there are. */
  readonly size: number;
  /** Host of each rank. */
  readonly hosts: readonly string[];
  /** For the log: the library and the ranks. */
  readonly description: string;
  /** How long this rank was in calls so far: waiting for others, and exchanging. */
  readonly secondsInCalls: number;
  /**
   * Replaces values by their sums over all ranks; every rank gets the same bits.
   *
   * @param values as many on each rank; they may lie on the wasm heap
   * @param what for the message if a rank does not come
   */
  sum(values: Summable, what: string): Promise<void>;
  /**
   * Sends each rank a part of its own.
   *
   * @param bytes as many parts of one size as there are ranks, in their order
   * @returns the parts for this rank, in the order of the ranks that sent them
   */
  exchange(bytes: Uint8Array, what: string): Promise<Uint8Array>;
  /** The bytes of each rank, in the order of the ranks; every rank gets all. */
  gather(bytes: Uint8Array, what: string, options?: WaitOptions): Promise<Uint8Array[]>;
  /**
   * Fills `bytes` with those of rank 0.
   *
   * @param bytes as many on each rank
   */
  broadcast(bytes: Uint8Array, what: string, options?: WaitOptions): Promise<void>;
  /** Waits until every rank has come. */
  barrier(what: string, options?: WaitOptions): Promise<void>;
  /** Says goodbye to the other ranks; no call may follow. */
  close(): Promise<void>;
  /** Ends all ranks at once, with an exit code. */
  abort(code: number): void;
}

/** One process without others. */
export const ALONE: Ranks = {
  rank: 0,
  size: 1,
  hosts: [],
  description: "one process",
  secondsInCalls: 0,
  sum: () => Promise.resolve(),
  exchange: (bytes) => Promise.resolve(bytes),
  gather: (bytes) => Promise.resolve([bytes]),
  broadcast: () => Promise.resolve(),
  barrier: () => Promise.resolve(),
  close: () => Promise.resolve(),
  abort: (code) => Deno.exit(code),
};

let current: Ranks = ALONE;

/** The ranks of this process's run; {@linkcode ALONE} unless they were started. */
export function currentRanks(): Ranks {
  return current;
}

/** Makes `ranks` those of this process. */
export function setCurrentRanks(ranks: Ranks): void {
  current = ranks;
}

/** Runs `work` as if this process were alone: what it does is not shared with other ranks. */
export async function alone<T>(work: () => Promise<T>): Promise<T> {
  const before = current;
  current = ALONE;
  try {
    return await work();
  } finally {
    current = before;
  }
}

/**
 * Does `work` on rank 0 while the others wait, and tells them its result.
 *
 * @param what for messages
 * @param work gives JSON; if it fails, rank 0 ends and the launcher ends the others
 * @returns its result, on every rank
 */
export async function onRankZero<T>(
  ranks: Ranks,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  if (ranks.size === 1) return await work();
  const result = ranks.rank === 0 ? await work() : null;
  const [told] = await gatherJson(ranks, { result }, what, { patient: true });
  return ranks.rank === 0 ? result as T : told.result as T;
}

/** A JSON value of each rank, in the order of the ranks; every rank gets all. */
export async function gatherJson<T>(
  ranks: Ranks,
  value: T,
  what: string,
  options?: WaitOptions,
): Promise<T[]> {
  if (ranks.size === 1) return [value];
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  const all = await ranks.gather(bytes, what, options);
  return all.map((one) => JSON.parse(new TextDecoder().decode(one)) as T);
}

/** The sum of numbers over all ranks, in float64. */
export async function sumNumbers(
  ranks: Ranks,
  values: readonly number[],
  what: string,
): Promise<number[]> {
  if (ranks.size === 1) return [...values];
  const sums = Float64Array.from(values);
  await ranks.sum(sums, what);
  return Array.from(sums);
}

/** The rank that computes a micro-batch, by the number of the micro-batch within its step. */
export function ownerOf(microBatch: number, { size }: Pick<Ranks, "size">): number {
  return microBatch % size;
}
