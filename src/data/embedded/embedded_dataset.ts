/**
 * The embedded pictures as a data set of any format.
 *
 * @module
 */
import { DataError } from "../data_error.ts";
import type { Dataset } from "../dataset.ts";
import {
  embeddedShapes,
  shapesGrpoRows,
  shapesPreferenceRows,
  shapesVqaRows,
} from "./embedded_shapes.ts";
import type { DatasetFormat, ExampleOf } from "../rows/formats.ts";
import { datasetFromRows, type ExampleOptions } from "../load_dataset.ts";

/** Name of the embedded drawings, of their tokenizer, and of the model that is trained on them. */
export const BUILTIN_SHAPES = "builtin:shapes";

/**
 * The embedded drawings.
 *
 * @param split `train` or `test`
 * @throws {DataError} for another split
 */
export async function embeddedDataset<F extends DatasetFormat>(
  split: string,
  options: ExampleOptions<F>,
): Promise<Dataset<ExampleOf<F>>> {
  if (split !== "train" && split !== "test") {
    throw new DataError(
      `Cannot load ${BUILTIN_SHAPES}: there is no split ${split}; want train or test`,
    );
  }
  const pictures = embeddedShapes(split === "test" ? { trainPictures: 0 } : {})[split];
  const rows = {
    vqa: () => shapesVqaRows(pictures),
    preference: () => shapesPreferenceRows(pictures),
    unpaired: () => shapesPreferenceRows(pictures),
    grpo: () => shapesGrpoRows(pictures),
  }[options.format as DatasetFormat]();
  return await datasetFromRows(rows, { ...options, name: `${BUILTIN_SHAPES} ${split}` });
}
