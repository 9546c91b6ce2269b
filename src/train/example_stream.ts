/**
 * A data set's examples in training order, one epoch after the other, with a cursor from which a
 * resumed run goes on.
 *
 * @module
 */
import type { Dataset } from "../data/dataset.ts";
import type { EncodedImage } from "../data/image_cell.ts";
import type { StreamingDataset } from "../data/streaming_dataset.ts";
import { RandomStream, shuffledIndices } from "../random.ts";

/** An example with its images still encoded. */
export interface EncodedExample {
  readonly images: readonly EncodedImage[];
}

/** Where a run stands in its data. */
export interface DataCursor {
  /** From 0. */
  epoch: number;
  /** Examples of the epoch that are behind it, skipped ones included. */
  index: number;
}

/** An example and the row that it comes from. */
export interface PlacedExample<E> {
  example: E;
  /** Examples of one row share their images; null where rows are not known (streams). */
  row: number | null;
  /** File and row, for messages. */
  place: () => Promise<string>;
}

/**
 * Shuffles rows, and keeps the examples of a row (the turns of a picture) next to each other, so
 * that a batch can share what they have in common.
 *
 * @param rows row of each example
 * @param random the epoch's stream
 * @returns numbers of the examples, in training order
 */
export function shuffledByRow(rows: ArrayLike<number>, random: RandomStream): Uint32Array {
  const byRow = new Map<number, number[]>();
  for (let i = 0; i < rows.length; i++) {
    const examples = byRow.get(rows[i]);
    if (examples) examples.push(i);
    else byRow.set(rows[i], [i]);
  }
  const groups = [...byRow.values()];
  const order = new Uint32Array(rows.length);
  let next = 0;
  for (const group of shuffledIndices(groups.length, random)) {
    for (const example of groups[group]) order[next++] = example;
  }
  return order;
}

/** Examples in training order. */
export class ExampleStream<E extends EncodedExample> {
  readonly #dataset: Dataset<E> | StreamingDataset<E>;
  readonly #seed: number;
  #cursor: DataCursor;
  #order: Uint32Array | null = null;
  #iterator: AsyncGenerator<E> | null = null;

  /**
   * @param dataset the examples
   * @param seed of the shuffles: the same on every machine and backend
   * @param cursor where to go on
   */
  constructor(
    dataset: Dataset<E> | StreamingDataset<E>,
    seed: number,
    cursor: DataCursor = { epoch: 0, index: 0 },
  ) {
    this.#dataset = dataset;
    this.#seed = seed;
    this.#cursor = { ...cursor };
  }

  /** Where the stream stands. */
  get cursor(): DataCursor {
    return { ...this.#cursor };
  }

  /** Goes on from a cursor. */
  seek(cursor: DataCursor): void {
    this.#cursor = { ...cursor };
    this.#order = null;
    this.#iterator = null;
  }

  /** Examples an epoch has; null where nobody knows. */
  get length(): number | null {
    return this.#dataset.length;
  }

  /**
   * The next example of this epoch that can be read; null at its end, after which the next call
   * begins the next epoch.
   */
  async next(): Promise<PlacedExample<E> | null> {
    return this.#dataset.streaming
      ? await this.#nextOfStream(this.#dataset)
      : await this.#nextOfDataset(this.#dataset);
  }

  #endEpoch(): null {
    this.#cursor = { epoch: this.#cursor.epoch + 1, index: 0 };
    this.#order = null;
    this.#iterator = null;
    return null;
  }

  async #nextOfDataset(dataset: Dataset<E>): Promise<PlacedExample<E> | null> {
    if (this.#order === null) {
      const rows = Array.from({ length: dataset.length }, (_, i) => dataset.rowOf(i));
      const random = new RandomStream(this.#seed, `epoch ${this.#cursor.epoch}`);
      this.#order = shuffledByRow(rows, random);
    }
    while (this.#cursor.index < this.#order.length) {
      const number = this.#order[this.#cursor.index++];
      const example = await dataset.tryGet(number);
      if (example === null) continue;
      return { example, row: dataset.rowOf(number), place: () => dataset.place(number) };
    }
    return this.#endEpoch();
  }

  async #nextOfStream(dataset: StreamingDataset<E>): Promise<PlacedExample<E> | null> {
    const { epoch, index } = this.#cursor;
    this.#iterator ??= dataset.iterate({ shuffleSeed: this.#seed, epoch, skip: index });
    const { value, done } = await this.#iterator.next();
    if (done) return this.#endEpoch();
    this.#cursor.index++;
    const place = `example ${this.#cursor.index} of epoch ${epoch} of ${dataset.name}`;
    return { example: value, row: null, place: () => Promise.resolve(place) };
  }
}
