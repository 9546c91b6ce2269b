/**
 * Work that is begun before its result is asked for: the rows of the next step are read and their
 * pictures decoded while this step computes.
 *
 * @module
 */

/** What a piece of work gets. */
export interface AheadContext {
  /** To be called once all rows are read and their pictures are with the workers. */
  readonly posted: () => void;
  /** @throws {Error} if the work was dropped, so that its result is not needed */
  readonly throwIfDropped: () => void;
}

interface Begun<T> {
  readonly posted: Promise<void>;
  readonly result: Promise<T>;
}

/** Pieces of work in order. A piece begins once the one before it has posted its pictures. */
export class ReadAhead<T> {
  #begun: Begun<T>[] = [];
  readonly #running = new Set<Promise<unknown>>();
  #generation = 0;

  /** Pieces that are begun and not taken yet. */
  get length(): number {
    return this.#begun.length;
  }

  /** Begins a piece. An error of it is kept until the piece is taken. */
  begin(work: (context: AheadContext) => Promise<T>): void {
    const before = this.#begun.at(-1)?.posted ?? Promise.resolve();
    const generation = this.#generation;
    const throwIfDropped = () => {
      if (generation !== this.#generation) {
        throw new Error("Cannot make the next examples: their work was dropped");
      }
    };
    const { promise: posted, resolve } = Promise.withResolvers<void>();
    const result = before.then(() => {
      throwIfDropped();
      return work({ posted: resolve, throwIfDropped });
    }).finally(resolve);
    const running = result.then(() => {}, () => {}).finally(() => this.#running.delete(running));
    this.#running.add(running);
    this.#begun.push({ posted, result });
  }

  /** The result of the oldest piece that was not taken; one must have been begun. */
  take(): Promise<T> {
    return this.#begun.shift()!.result;
  }

  /** Resolves once every piece that is begun has posted its pictures. */
  async posted(): Promise<void> {
    await this.#begun.at(-1)?.posted;
  }

  /** Forgets all pieces; those that run end with an error that is not reported. */
  drop(): void {
    this.#generation++;
    this.#begun = [];
  }

  /** Resolves once no piece is running. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}
