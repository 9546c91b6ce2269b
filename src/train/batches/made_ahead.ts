/**
 * Examples of a data set in its own order, made into the model's form while those before them are
 * used: for evaluations and for DPO's reference.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import type { EncodedExample, PlacedExample } from "./example_stream.ts";
import { ReadAhead } from "./read_ahead.ts";

/** An example and what the model takes of it. */
export interface MadeExample<E, X> {
  readonly example: E;
  readonly made: X;
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
 * @param make brings one into the model's form; throws `RowSkipped` if it cannot
 * @param ahead how many are made at once
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function* madeAhead<E extends EncodedExample, X>(
  rows: AsyncIterable<PlacedExample<E>>,
  dataset: Dataset<E> | StreamingDataset<E>,
  make: (placed: PlacedExample<E>) => Promise<X>,
  ahead: number,
): AsyncGenerator<MadeExample<E, X>> {
  const iterator = rows[Symbol.asyncIterator]();
  const queue = new ReadAhead<{ example: E; made: X | RowSkipped } | null>();
  try {
    for (;;) {
      while (queue.length < Math.max(ahead, 1)) {
        queue.begin(async ({ posted }) => {
          const next = await iterator.next();
          if (next.done) return null;
          const making = makeOrSkip(next.value, make);
          posted();
          return { example: next.value.example, made: await making };
        });
      }
      const one = await queue.take();
      if (one === null) return;
      const { example, made } = one;
      if (made instanceof RowSkipped) dataset.skipped.add(made);
      else yield { example, made };
    }
  } finally {
    queue.drop();
    await iterator.return?.();
  }
}

/**
 * The usable examples of held-out data in batches, the last one may be smaller.
 *
 * @param dataset held out
 * @param make brings an example into the model's form; throws `RowSkipped` if it cannot
 * @param size examples of a batch; as many are made ahead
 * @param signal ends it between two batches, with its reason as the error
 * @throws {DataError} if more than 10 % of the rows cannot be used
 */
export async function* heldOutBatches<E extends EncodedExample, X>(
  dataset: Dataset<E> | StreamingDataset<E>,
  make: (placed: PlacedExample<E>) => Promise<X>,
  size: number,
  signal?: AbortSignal,
): AsyncGenerator<MadeExample<E, X>[]> {
  let batch: MadeExample<E, X>[] = [];
  for await (const one of madeAhead(examplesInOrder(dataset, true), dataset, make, size)) {
    batch.push(one);
    if (batch.length < size) continue;
    signal?.throwIfAborted();
    yield batch;
    batch = [];
  }
  signal?.throwIfAborted();
  if (batch.length > 0) yield batch;
  signal?.throwIfAborted();
}
