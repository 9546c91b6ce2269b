/**
 * A data set's examples in training order, one epoch after the other, with a cursor from which a
 * resumed run continues.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { EncodedImage } from "../../data/rows/image_cell.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { RandomStream, shuffledIndices } from "../../random.ts";

/** An example with its images still encoded. */
export interface EncodedExample {
  readonly images: readonly EncodedImage[];
}

/** The place of a run in its data. */
export interface DataCursor {
  /** From 0. */
  epoch: number;
  /** Examples of the epoch that were read, skipped ones included. */
  index: number;
}

/** An example and the row that it comes from. */
export interface PlacedExample<E> {
  example: E;
  /** Examples of one row share their images; null if rows are not known (streams). */
  row: number | null;
  /** File and row, for messages. */
  place: () => Promise<string>;
  /** In training: the epoch, and a number of the row in it that stays the same if a run resumes. */
  drawn?: { readonly epoch: number; readonly row: number };
}

/** Examples of each row, rows in random order. */
function shuffledRows(rows: ArrayLike<number>, random: RandomStream): number[][] {
  const byRow = new Map<number, number[]>();
  for (let i = 0; i < rows.length; i++) {
    const examples = byRow.get(rows[i]);
    if (examples) examples.push(i);
    else byRow.set(rows[i], [i]);
  }
  const groups = [...byRow.values()];
  return Array.from(shuffledIndices(groups.length, random), (group) => groups[group]);
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
  return Uint32Array.from(shuffledRows(rows, random).flat());
}

/** Most batches among which rows are sorted: the rest stays random. */
const MEGA_BATCHES = 50;

/**
 * Shuffles rows as {@linkcode shuffledByRow}, then sorts them by length within mega-batches of up
 * to 50 batches, the longest first; the longest of all comes first, so that a batch that does not
 * fit into memory shows at once.
 *
 * Source: Transformers' `LengthGroupedSampler`, which does it with single examples.
 *
 * @param rows row of each example
 * @param lengths of the examples, in any unit
 * @param batch examples of an optimizer step
 * @param random the epoch's stream
 * @returns numbers of the examples, in training order
 */
export function lengthGroupedByRow(
  rows: ArrayLike<number>,
  lengths: ArrayLike<number>,
  batch: number,
  random: RandomStream,
): Uint32Array {
  const size = batch * Math.max(1, Math.min(Math.floor(rows.length / (batch * 4)), MEGA_BATCHES));
  const lengthOf = (group: readonly number[]) =>
    group.reduce((sum, example) => sum + lengths[example], 0);
  const megaBatches: number[][][] = [];
  let filled = size;
  for (const group of shuffledRows(rows, random)) {
    if (filled >= size) {
      megaBatches.push([]);
      filled = 0;
    }
    megaBatches.at(-1)!.push(group);
    filled += group.length;
  }
  for (const megaBatch of megaBatches) megaBatch.sort((a, b) => lengthOf(b) - lengthOf(a));
  const longest = megaBatches.reduce(
    (most, megaBatch) => lengthOf(megaBatch[0]) > lengthOf(most[0]) ? megaBatch : most,
    megaBatches[0],
  );
  const [first] = megaBatches;
  [first[0], longest[0]] = [longest[0], first[0]];
  return Uint32Array.from(megaBatches.flat(2));
}

/** Called with each row that cannot be read. */
export type OnSkipped = (skipped: RowSkipped) => void;

/** Examples in training order. */
export class ExampleStream<E extends EncodedExample> {
  readonly #dataset: Dataset<E> | StreamingDataset<E>;
  readonly #seed: number;
  readonly #lengthBatch: number | null;
  #cursor: DataCursor;
  #order: Uint32Array | null = null;
  #iterator: AsyncGenerator<E> | null = null;

  /**
   * @param dataset the examples
   * @param seed of the shuffles: the same on every machine and backend
   * @param lengthBatch group rows by length for steps of so many examples; null: all at random. A
   *   stream, whose lengths are not known, is not grouped
   */
  constructor(
    dataset: Dataset<E> | StreamingDataset<E>,
    seed: number,
    lengthBatch: number | null = null,
  ) {
    this.#dataset = dataset;
    this.#seed = seed;
    this.#lengthBatch = lengthBatch;
    this.#cursor = { epoch: 0, index: 0 };
  }

  /** The place of the stream. */
  get cursor(): DataCursor {
    return { ...this.#cursor };
  }

  /** Continues from a cursor. */
  seek(cursor: DataCursor): void {
    this.#cursor = { ...cursor };
    this.#order = null;
    this.#iterator = null;
  }

  /** Examples an epoch has; null if it is not known. */
  get length(): number | null {
    return this.#dataset.length;
  }

  /**
   * The next example of this epoch that can be read; null at its end, after which the next call
   * begins the next epoch.
   *
   * @param onSkipped gets the rows that cannot be read; default: they are counted in the data set.
   *   A stream counts its own
   */
  async next(
    onSkipped: OnSkipped = (skipped) => this.#dataset.skipped.add(skipped),
  ): Promise<PlacedExample<E> | null> {
    return this.#dataset.streaming
      ? await this.#nextOfStream(this.#dataset)
      : await this.#nextOfDataset(this.#dataset, onSkipped);
  }

  #endEpoch(): null {
    this.#cursor = { epoch: this.#cursor.epoch + 1, index: 0 };
    this.#order = null;
    this.#iterator = null;
    return null;
  }

  #orderOf(dataset: Dataset<E>): Uint32Array {
    const rows = Array.from({ length: dataset.length }, (_, i) => dataset.rowOf(i));
    const random = new RandomStream(this.#seed, `epoch ${this.#cursor.epoch}`);
    if (this.#lengthBatch === null) return shuffledByRow(rows, random);
    const lengths = rows.map((_, i) => dataset.textLength(i));
    return lengthGroupedByRow(rows, lengths, this.#lengthBatch, random);
  }

  async #nextOfDataset(
    dataset: Dataset<E>,
    onSkipped: OnSkipped,
  ): Promise<PlacedExample<E> | null> {
    this.#order ??= this.#orderOf(dataset);
    while (this.#cursor.index < this.#order.length) {
      const number = this.#order[this.#cursor.index++];
      let example: E;
      try {
        example = await dataset.get(number);
      } catch (error) {
        if (!(error instanceof RowSkipped)) throw error;
        onSkipped(error);
        continue;
      }
      const row = dataset.rowOf(number);
      const drawn = { epoch: this.#cursor.epoch, row };
      return { example, row, place: () => dataset.place(number), drawn };
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
    const drawn = { epoch, row: this.#cursor.index };
    return { example: value, row: null, place: () => Promise.resolve(place), drawn };
  }
}
