import { ALONE, type Ranks, setCurrentRanks, type Summable } from "../../src/distributed/ranks.ts";

/** Calls of several ranks in one process, in step. */
class Meeting {
  #waiting: { rank: number; value: unknown; resolve: (all: unknown[]) => void }[] = [];

  constructor(readonly size: number) {}

  /** Resolves with the values of all ranks once all have come. */
  meet<T>(rank: number, value: T): Promise<T[]> {
    return new Promise((resolve) => {
      this.#waiting.push({ rank, value, resolve: resolve as (all: unknown[]) => void });
      if (this.#waiting.length < this.size) return;
      const all = this.#waiting.sort((a, b) => a.rank - b.rank);
      this.#waiting = [];
      for (const one of all) one.resolve(all.map(({ value }) => value));
    });
  }
}

/** Ranks that live in this process; each must be used by a promise of its own. */
export function localRanks(size: number): Ranks[] {
  const meeting = new Meeting(size);
  return Array.from({ length: size }, (_, rank): Ranks => ({
    rank,
    size,
    hosts: Array.from({ length: size }, (_, r) => `host${r}`),
    description: `${size} ranks of a test`,
    secondsInCalls: 0,
    async sum(values: Summable) {
      const all = await meeting.meet(rank, values.slice());
      all.forEach((other, r) => {
        for (let i = 0; i < values.length; i++) values[i] = (r === 0 ? 0 : values[i]) + other[i];
      });
    },
    async exchange(bytes) {
      const all = await meeting.meet(rank, bytes.slice());
      const part = bytes.length / size;
      const received = new Uint8Array(bytes.length);
      all.forEach((other, r) =>
        received.set(other.subarray(rank * part, (rank + 1) * part), r * part)
      );
      return received;
    },
    gather: (bytes) => meeting.meet(rank, bytes.slice()),
    async broadcast(bytes) {
      bytes.set((await meeting.meet(rank, bytes.slice()))[0]);
    },
    async barrier() {
      await meeting.meet(rank, null);
    },
    close: () => Promise.resolve(),
    abort: () => {},
  }));
}

/**
 * Makes a thing for each of some local ranks, and uses all of them side by side.
 *
 * @param make makes it while the ranks are those of the process
 */
export async function onLocalRanks<T extends Disposable, R>(
  size: number,
  make: () => Promise<T>,
  use: (made: T) => Promise<R>,
): Promise<R[]> {
  const made: T[] = [];
  try {
    for (const ranks of localRanks(size)) {
      setCurrentRanks(ranks);
      made.push(await make());
    }
    setCurrentRanks(ALONE);
    return await Promise.all(made.map(use));
  } finally {
    setCurrentRanks(ALONE);
    for (const one of made) one[Symbol.dispose]();
  }
}

/** Sums of the gradients of several ranks. */
export function sumGradients(
  ranks: readonly ReadonlyMap<string, Float32Array>[],
): Map<string, Float32Array> {
  const sums = new Map<string, Float32Array>();
  for (const gradients of ranks) {
    for (const [name, values] of gradients) {
      const sum = sums.get(name);
      sums.set(name, sum === undefined ? values : sum.map((value, i) => value + values[i]));
    }
  }
  return sums;
}
