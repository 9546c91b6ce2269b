/**
 * The micro-batches of an optimizer step, out of a stream of examples: rows that cannot be used are
 * counted and left out, the last step of an epoch is shorter.
 *
 * @module
 */
import { RowSkipped } from "../data/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import type { StreamingDataset } from "../data/streaming_dataset.ts";
import {
  type DataCursor,
  type EncodedExample,
  ExampleStream,
  type PlacedExample,
} from "./example_stream.ts";

/** How examples are put together. */
export interface MicroBatchOptions {
  batchSize: number;
  gradientAccumulationSteps: number;
  /** Leave out a last batch that is not full. */
  dropLast: boolean;
  /** Of the shuffles. */
  seed: number;
}

/** What one optimizer step works on. */
export interface StepBatches<X> {
  readonly batches: X[][];
  /** Whether the epoch ends with this step. */
  readonly epochEnded: boolean;
}

/** Examples `E` of a data set, made into what the model takes, `X`, in batches. */
export class MicroBatches<E extends EncodedExample, X> {
  readonly #stream: ExampleStream<E>;

  /**
   * @param dataset the examples
   * @param make brings one into the model's form; throws `RowSkipped` where it cannot
   * @param options sizes
   */
  constructor(
    readonly dataset: Dataset<E> | StreamingDataset<E>,
    readonly make: (placed: PlacedExample<E>) => Promise<X>,
    readonly options: MicroBatchOptions,
  ) {
    this.#stream = new ExampleStream(dataset, options.seed);
  }

  /** Optimizer steps an epoch has; null where nobody knows. */
  get stepsPerEpoch(): number | null {
    const { batchSize, gradientAccumulationSteps, dropLast } = this.options;
    const examples = this.#stream.length;
    if (examples === null) return null;
    const batches = dropLast ? Math.floor(examples / batchSize) : Math.ceil(examples / batchSize);
    return Math.max(1, Math.ceil(batches / gradientAccumulationSteps));
  }

  /** Where the data stands, in epochs. */
  get epoch(): number {
    const { epoch, index } = this.#stream.cursor;
    const { length } = this.#stream;
    return length === null ? epoch : epoch + index / length;
  }

  /** For a checkpoint. */
  get cursor(): DataCursor {
    return this.#stream.cursor;
  }

  /** Goes on from a checkpoint. */
  seek(cursor: DataCursor): void {
    this.#stream.seek(cursor);
  }

  /**
   * The next step's micro-batches: at least one.
   *
   * @throws {Error} where a whole epoch has no usable example
   */
  async next(): Promise<StepBatches<X>> {
    const batches = await this.#next();
    if (batches.batches.length > 0) return batches;
    // Every row that was left of the epoch was skipped: go on with the next one.
    const further = await this.#next();
    if (further.batches.length > 0) return further;
    throw new Error(`Cannot train on ${this.dataset.name}: an epoch has no usable example`);
  }

  async #next(): Promise<StepBatches<X>> {
    const { batchSize, gradientAccumulationSteps, dropLast } = this.options;
    const batches: X[][] = [];
    let batch: X[] = [];
    while (batches.length < gradientAccumulationSteps) {
      const placed = await this.#stream.next();
      if (placed === null) {
        if (batch.length > 0 && !dropLast) batches.push(batch);
        return { batches, epochEnded: true };
      }
      const example = await this.tryMake(placed);
      if (example === null) continue;
      batch.push(example);
      if (batch.length === batchSize) {
        batches.push(batch);
        batch = [];
      }
    }
    const { length } = this.#stream;
    const left = length === null ? Infinity : length - this.#stream.cursor.index;
    const epochEnded = dropLast ? left < batchSize : left === 0;
    if (epochEnded) { while (await this.#stream.next() !== null); }
    return { batches, epochEnded };
  }

  /**
   * Makes an example; null where its row cannot be used, which is then counted.
   *
   * @throws {DataError} where more than 10 % of the rows cannot be used
   */
  async tryMake(placed: PlacedExample<E>): Promise<X | null> {
    return await tryMake(placed, this.make, this.dataset);
  }
}

/** Makes an example; null where its row cannot be used, which is then counted in the data set. */
export async function tryMake<E extends EncodedExample, X>(
  placed: PlacedExample<E>,
  make: (placed: PlacedExample<E>) => Promise<X>,
  dataset: Dataset<E> | StreamingDataset<E>,
): Promise<X | null> {
  try {
    return await make(placed);
  } catch (error) {
    if (!(error instanceof RowSkipped)) throw error;
    dataset.skipped.add(error.at(await placed.place()));
    return null;
  }
}

/**
 * Every example of a data set in its own order.
 *
 * @param heldOut rows get numbers below 0, so that a cache tells them from the training rows
 */
export async function* examplesInOrder<E extends EncodedExample>(
  dataset: Dataset<E> | StreamingDataset<E>,
  heldOut: boolean,
): AsyncGenerator<PlacedExample<E>> {
  if (dataset.streaming) {
    let number = 0;
    for await (const example of dataset) {
      const place = `example ${++number} of ${dataset.name}`;
      yield { example, row: null, place: () => Promise.resolve(place) };
    }
    return;
  }
  for (let i = 0; i < dataset.length; i++) {
    const example = await dataset.tryGet(i);
    if (example === null) continue;
    const row = heldOut ? -1 - dataset.rowOf(i) : dataset.rowOf(i);
    yield { example, row, place: () => dataset.place(i) };
  }
}
