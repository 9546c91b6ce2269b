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
import {
  BUILTIN_FAR_SHAPES,
  farShapes,
  farShapesChatRows,
  farShapesGrpoRows,
} from "./far_shapes.ts";
import type { DatasetFormat, ExampleOf } from "../rows/formats.ts";
import { datasetFromRows, type ExampleOptions } from "../load_dataset.ts";
import type { Row } from "../rows/row.ts";

/** Name of the embedded drawings, of their tokenizer, and of the model that is trained on them. */
export const BUILTIN_SHAPES = "builtin:shapes";

/** Names of embedded data sets. */
export const EMBEDDED_DATA: readonly string[] = [BUILTIN_SHAPES, BUILTIN_FAR_SHAPES];

/**
 * The embedded drawings.
 *
 * @param split `train` or `test`
 * @param name one of {@linkcode EMBEDDED_DATA}
 * @throws {DataError} for another split, or a format that the data does not have
 */
export async function embeddedDataset<F extends DatasetFormat>(
  split: string,
  options: ExampleOptions<F>,
  name: string = BUILTIN_SHAPES,
): Promise<Dataset<ExampleOf<F>>> {
  if (split !== "train" && split !== "test") {
    throw new DataError(
      `Cannot load ${name}: there is no split ${split}; want train or test`,
    );
  }
  if (name === BUILTIN_FAR_SHAPES) {
    return await datasetFromRows(farRows(split, options.format), {
      ...options,
      name: `${name} ${split}`,
    });
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

/** Rows about far shapes. */
function farRows(split: "train" | "test", format: DatasetFormat): Row[] {
  const pictures = farShapes(split);
  if (format === "grpo") return farShapesGrpoRows(pictures);
  if (format === "vqa") return farShapesChatRows(pictures);
  throw new DataError(`Cannot load ${BUILTIN_FAR_SHAPES} as ${format}: it has vqa and grpo alone`);
}
