/**
 * The usable examples of a data set with their places, and what could not be used.
 *
 * @module
 */
import { RowSkipped } from "./data_error.ts";
import type { Dataset } from "./dataset.ts";
import type { EncodedImage } from "./rows/image_cell.ts";
import type { SkippedRows } from "./rows/skipped_rows.ts";
import type { StreamingDataset } from "./streaming_dataset.ts";

/** An example and the place of its row. */
export interface PlacedOne<E> {
  readonly example: E;
  /** Number of the example. */
  readonly index: number;
  /** File and line or row; of a stream, the number of the example. */
  readonly place: string;
}

/** All examples that can be used, in order; the others are counted in the data set's `skipped`. */
export async function* placedExamples<E extends { readonly images: readonly EncodedImage[] }>(
  dataset: Dataset<E> | StreamingDataset<E>,
): AsyncGenerator<PlacedOne<E>> {
  if (dataset.streaming) {
    let index = 0;
    for await (const example of dataset) {
      yield { example, index, place: `example ${index}` };
      index++;
    }
    return;
  }
  for (let index = 0; index < dataset.length; index++) {
    const example = await dataset.tryGet(index);
    if (example !== null) yield { example, index, place: await dataset.place(index) };
  }
}

/**
 * The result of `make`; null if its row cannot be used, which is noted with its reason.
 *
 * @param skipped where to note it
 * @param place of the row
 * @throws whatever else went wrong
 */
export function unlessSkipped<T>(skipped: SkippedRows, place: string, make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RowSkipped)) throw error;
    skipped.note(error.at(place));
    return null;
  }
}
