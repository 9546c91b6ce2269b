/** Keeps the blocks used last, up to a number of bytes; a block being loaded is loaded once. */
export class BlockCache<Block> {
  readonly #blocks = new Map<number, { value: Promise<Block>; bytes: number }>();
  readonly #budgetBytes: number;
  #bytes = 0;

  /** @param budgetBytes how much may be kept; the newest block always is */
  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  /** Bytes held now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The block of that number, loaded if it is not cached.
   *
   * @param key number of the block
   * @param bytes what it weighs
   * @param load reads it
   */
  get(key: number, bytes: number, load: () => Promise<Block>): Promise<Block> {
    const held = this.#blocks.get(key);
    if (held !== undefined) {
      this.#blocks.delete(key);
      this.#blocks.set(key, held);
      return held.value;
    }
    const value = load();
    this.#blocks.set(key, { value, bytes });
    this.#bytes += bytes;
    value.catch(() => this.#drop(key));
    for (const oldest of this.#blocks.keys()) {
      if (this.#bytes <= this.#budgetBytes || oldest === key) break;
      this.#drop(oldest);
    }
    return value;
  }

  #drop(key: number): void {
    const held = this.#blocks.get(key);
    if (held === undefined) return;
    this.#blocks.delete(key);
    this.#bytes -= held.bytes;
  }
}
