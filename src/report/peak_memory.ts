/** The most memory the process was seen to hold. */
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
