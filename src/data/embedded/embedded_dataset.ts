/**
 * The embedded pictures as a data set of any format.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { DataError } from "../data_error.ts";
import type { Dataset } from "../dataset.ts";
import {
  BUILTIN_DRAWINGS,
  drawingGrpoRows,
  drawingPreferenceRows,
  drawings,
  drawingsFolder,
  drawingVqaRows,
} from "./drawings.ts";
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
import type { EncodedImage } from "../rows/image_cell.ts";
import type { Row } from "../rows/row.ts";
import { type PictureOverlap, pictureOverlap } from "../splits/picture_overlap.ts";

/** Name of the small drawings at five places, of their tokenizer, and of the model that is trained on them. */
export const BUILTIN_SHAPES = "builtin:shapes";

/** Names of embedded data sets. */
export const EMBEDDED_DATA: readonly string[] = [
  BUILTIN_SHAPES,
  BUILTIN_DRAWINGS,
  BUILTIN_FAR_SHAPES,
];

/**
 * Compares the pictures of both splits. Those of the drawings are not compared: their places and
 * sizes are random numbers of 32 bits, so that no two drawings are alike.
 *
 * @param name one of {@linkcode EMBEDDED_DATA}
 */
export async function embeddedOverlap<E extends { readonly images: readonly EncodedImage[] }>(
  name: string,
  train: Dataset<E>,
  test: Dataset<E>,
): Promise<PictureOverlap> {
  if (name !== BUILTIN_DRAWINGS) return await pictureOverlap(train, test);
  const { ofRow } = await test.pictureKeys();
  const pictures = new Set([...ofRow.values()].flat()).size;
  return { heldOut: { pictures, inTraining: 0 }, note: [] };
}

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
  if (name === BUILTIN_DRAWINGS) return await drawingsDataset(split, options);
  const pictures = embeddedShapes(split === "test" ? { trainPictures: 0 } : {})[split];
  const rows = {
    vqa: () => shapesVqaRows(pictures),
    preference: () => shapesPreferenceRows(pictures),
    unpaired: () => shapesPreferenceRows(pictures),
    grpo: () => shapesGrpoRows(pictures),
  }[options.format as DatasetFormat]();
  return await datasetFromRows(rows, { ...options, name: `${BUILTIN_SHAPES} ${split}` });
}

/** Counts the changes of what is drawn and asked: a run does not continue on other drawings. */
const DRAWINGS_VERSION = 1;

/** The drawings: a picture is drawn when it is read. */
async function drawingsDataset<F extends DatasetFormat>(
  split: "train" | "test",
  options: ExampleOptions<F>,
): Promise<Dataset<ExampleOf<F>>> {
  const drawn = drawings(split);
  const rows = {
    vqa: () => drawingVqaRows(drawn),
    preference: () => drawingPreferenceRows(drawn),
    unpaired: () => drawingPreferenceRows(drawn),
    grpo: () => drawingGrpoRows(drawn),
  }[options.format as DatasetFormat]();
  const { format, maxSamples = null, splitTurns = false } = options;
  const identity = [DRAWINGS_VERSION, split, format, maxSamples, splitTurns];
  return await datasetFromRows(rows, {
    ...options,
    name: `${BUILTIN_DRAWINGS} ${split}`,
    fingerprint: createHash("sha256").update(JSON.stringify(identity)).digest("hex"),
    folder: drawingsFolder(drawn),
  });
}

/** Rows about far shapes. */
function farRows(split: "train" | "test", format: DatasetFormat): Row[] {
  const pictures = farShapes(split);
  if (format === "grpo") return farShapesGrpoRows(pictures);
  if (format === "vqa") return farShapesChatRows(pictures);
  throw new DataError(`Cannot load ${BUILTIN_FAR_SHAPES} as ${format}: it has vqa and grpo alone`);
}
