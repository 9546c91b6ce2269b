/**
 * The most memory the process was seen to hold: at the end of steps, evaluations and checkpoints. The
 * system's own peak would also count what loading the model took and released before the first step,
 * which is not memory that training needs.
 */
export class PeakMemory {
  readonly #read: () => number;
  #peakBytes = 0;

  /** @param read the bytes held now; for tests */
  constructor(read: () => number = () => Deno.memoryUsage().rss) {
    this.#read = read;
  }

  /** Looks once, and returns the most seen so far, in bytes. */
  sample(): number {
    this.#peakBytes = Math.max(this.#peakBytes, this.#read());
    return this.#peakBytes;
  }
}
