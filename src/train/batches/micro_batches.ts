/**
 * The micro-batches of an optimizer step, out of a stream of examples: rows that cannot be used are
 * counted and left out, the last step of an epoch is shorter.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
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
  /** Put rows of like length into the same steps (Transformers' `group_by_length`). */
  groupByLength: boolean;
  /** Of the shuffles. */
  seed: number;
}

/** What one optimizer step works on. */
export interface StepBatches<X> {
  readonly batches: X[][];
  /** Whether the epoch ends with this step. */
  readonly epochEnded: boolean;
}

/** A step's work with what becomes true when the step begins. */
interface PreparedStep<X> extends StepBatches<X> {
  /** Usable examples that were left out, since they fill no batch. */
  readonly dropped: number;
  /** Where the data stands behind it. */
  readonly cursor: DataCursor;
  /** Rows that could not be used on the way, in their order. */
  readonly skipped: readonly RowSkipped[];
}

/** A step's work, perhaps still being made. */
interface Preparation<X> {
  readonly step: Promise<PreparedStep<X>>;
  /** All rows are read, and their pictures are on their way to the workers. */
  readonly posted: Promise<void>;
}

/**
 * Examples `E` of a data set, made into what the model takes, `X`, in batches; those of the next
 * step are made while this one runs.
 */
export class MicroBatches<E extends EncodedExample, X> {
  #stream: ExampleStream<E>;
  /** Behind the last step that was given: what is made ahead does not count. */
  #cursor: DataCursor;
  #ahead: Preparation<X> | null = null;
  /** Settled once nothing is being made. */
  #making: Promise<void> = Promise.resolve();

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
    this.#stream = this.#open();
    this.#cursor = this.#stream.cursor;
  }

  #open(): ExampleStream<E> {
    return new ExampleStream(this.dataset, this.options.seed, lengthBatch(this.options));
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
    const { epoch, index } = this.#cursor;
    const { length } = this.#stream;
    return length === null ? epoch : epoch + index / length;
  }

  /** For a checkpoint. */
  get cursor(): DataCursor {
    return { ...this.#cursor };
  }

  /** Goes on from a checkpoint. */
  seek(cursor: DataCursor): void {
    // What is being made ahead goes on with the stream it has, and is never asked for.
    this.#ahead = null;
    this.#stream = this.#open();
    this.#stream.seek(cursor);
    this.#cursor = { ...cursor };
  }

  /**
   * The next step's micro-batches: at least one.
   *
   * @param more whether another step follows: its work is then begun
   * @throws {Error} where a whole epoch has no usable example, or too few for a batch that is full
   * @throws {DataError} where more than 10 % of the rows cannot be used
   */
  async next(more = false): Promise<StepBatches<X>> {
    const { step } = this.#ahead ?? this.#prepare();
    this.#ahead = null;
    const { batches, epochEnded, dropped, cursor, skipped } = await step;
    for (const row of skipped) this.dataset.skipped.add(row);
    if (batches.length === 0) {
      const { batchSize } = this.options;
      const rows = dropped === 1 ? "the one usable example" : `the ${dropped} usable examples`;
      throw new Error(
        `Cannot train on ${this.dataset.name}: ` +
          (dropped === 0
            ? "an epoch has no usable example"
            : `${rows} of an epoch do not fill a batch of ${batchSize}, and what is not full is left ` +
              "out; lower per_device_train_batch_size or set dataloader_drop_last to false"),
      );
    }
    this.#cursor = cursor;
    if (more) {
      this.#ahead = this.#prepare();
      // Once the step computes, nothing else runs on this thread for long.
      await this.#ahead.posted;
    }
    return { batches, epochEnded };
  }

  /** Drops what is being made ahead, and waits until nothing is. */
  async release(): Promise<void> {
    this.seek(this.#cursor);
    await this.#making;
  }

  #prepare(): Preparation<X> {
    const { promise: posted, resolve } = Promise.withResolvers<void>();
    const step = this.#make(this.#stream, resolve).finally(resolve);
    this.#making = step.then(() => {}, () => {}); // its error is for who asks for the step
    return { step, posted };
  }

  async #make(stream: ExampleStream<E>, posted: () => void): Promise<PreparedStep<X>> {
    const skipped: RowSkipped[] = [];
    let made = await this.#makeStep(stream, skipped, posted);
    // Every row that was left of the epoch was skipped: go on with the next one.
    if (made.batches.length === 0) made = await this.#makeStep(stream, skipped, posted);
    return { ...made, cursor: stream.cursor, skipped };
  }

  async #makeStep(
    stream: ExampleStream<E>,
    skipped: RowSkipped[],
    posted: () => void,
  ): Promise<StepBatches<X> & { readonly dropped: number }> {
    const { batchSize, gradientAccumulationSteps, dropLast } = this.options;
    const wanted = batchSize * gradientAccumulationSteps;
    const examples: X[] = [];
    let ended = false;
    while (examples.length < wanted && !ended) {
      // As many as are missing: whatever cannot be used, no row more is looked at than needed.
      const rows: (Promise<X | RowSkipped> | RowSkipped)[] = [], unread: RowSkipped[] = [];
      for (let missing = wanted - examples.length; missing > 0; missing--) {
        // A stream that was left has nobody who waits for it.
        if (stream !== this.#stream) throw new Error("Cannot make a step: it was called off");
        const placed = await stream.next((row) => {
          rows.push(row);
          unread.push(row);
          this.dataset.skipped.judge([...skipped, ...unread]);
        });
        if (placed === null) {
          ended = true;
          break;
        }
        const making = makeOrSkip(placed, this.make);
        making.catch(() => {}); // told below, once the rows before it are made
        rows.push(making);
      }
      posted();
      for (const row of rows) {
        const example = await row;
        if (example instanceof RowSkipped) {
          skipped.push(example);
          this.dataset.skipped.judge(skipped);
        } else examples.push(example);
      }
    }
    const dropped = dropLast && ended ? examples.length % batchSize : 0;
    examples.length -= dropped;
    const batches: X[][] = [];
    for (let from = 0; from < examples.length; from += batchSize) {
      batches.push(examples.slice(from, from + batchSize));
    }
    if (ended) return { batches, epochEnded: true, dropped };
    const { length } = stream;
    const left = length === null ? Infinity : length - stream.cursor.index;
    const epochEnded = dropLast ? left < batchSize : left === 0;
    if (epochEnded) { while (await stream.next((row) => skipped.push(row)) !== null); }
    return { batches, epochEnded, dropped };
  }
}

/** For how many examples a step's rows are grouped by length; null: not at all. */
export function lengthBatch(
  options: Pick<
    MicroBatchOptions,
    "groupByLength" | "batchSize" | "gradientAccumulationSteps"
  >,
): number | null {
  const { groupByLength, batchSize, gradientAccumulationSteps } = options;
  return groupByLength ? batchSize * gradientAccumulationSteps : null;
}

/** Makes an example, or tells why its row cannot be used, and where it stands. */
export async function makeOrSkip<E extends EncodedExample, X>(
  placed: PlacedExample<E>,
  make: (placed: PlacedExample<E>) => Promise<X>,
): Promise<X | RowSkipped> {
  try {
    return await make(placed);
  } catch (error) {
    if (!(error instanceof RowSkipped)) throw error;
    return error.at(await placed.place());
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

/**
 * Usable examples, some of them made ahead; those that cannot be used are counted.
 *
 * @param rows in order
 * @param dataset that they come from
 * @param make brings one into the model's form; throws `RowSkipped` where it cannot
 * @param ahead how many are made at once
 * @throws {DataError} where more than 10 % of the rows cannot be used
 */
export async function* madeAhead<E extends EncodedExample, X>(
  rows: AsyncIterable<PlacedExample<E>>,
  dataset: Dataset<E> | StreamingDataset<E>,
  make: (placed: PlacedExample<E>) => Promise<X>,
  ahead: number,
): AsyncGenerator<{ example: E; made: X }> {
  const queue: { example: E; making: Promise<X | RowSkipped> }[] = [];
  const first = async function* () {
    const { example, making } = queue.shift()!;
    const made = await making;
    if (made instanceof RowSkipped) dataset.skipped.add(made);
    else yield { example, made };
  };
  for await (const placed of rows) {
    const making = makeOrSkip(placed, make);
    making.catch(() => {}); // told when it is its turn
    queue.push({ example: placed.example, making });
    if (queue.length >= ahead) yield* first();
  }
  while (queue.length > 0) yield* first();
}
