/**
 * Pictures that training and evaluation data both show.
 *
 * @module
 */
import type { Dataset } from "../dataset.ts";
import type { EncodedImage } from "../rows/image_cell.ts";
import type { StreamingDataset } from "../streaming_dataset.ts";
import { PICTURE_SCAN_BYTES } from "./picture_keys.ts";

/** A data set of examples with pictures, at random or as a stream. */
export type PictureDataset<E extends { readonly images: readonly EncodedImage[] }> =
  | Dataset<E>
  | StreamingDataset<E>;

/** How many of the held-out pictures are in training rows too. */
export interface HeldOutPictures {
  /** Different pictures of the held-out rows. */
  readonly pictures: number;
  /** Those of them that training rows show. */
  readonly inTraining: number;
}

/** What {@linkcode pictureOverlap} finds. */
export interface PictureOverlap {
  /** null: not known, for a stream, for more than 2 GiB of pictures, or without pictures. */
  readonly heldOut: HeldOutPictures | null;
  /** What a user should know; none or one. */
  readonly note: readonly string[];
}

/** Of an evaluation without pictures, or whose pictures were not compared. */
const UNKNOWN: PictureOverlap = { heldOut: null, note: [] };

/**
 * Compares the pictures of training and evaluation data, by the bytes of their files.
 *
 * @param train to train on
 * @param evaluation to evaluate on
 */
export async function pictureOverlap<E extends { readonly images: readonly EncodedImage[] }>(
  train: PictureDataset<E>,
  evaluation: PictureDataset<E>,
): Promise<PictureOverlap> {
  if (train.streaming || evaluation.streaming) return UNKNOWN;
  if (evaluation.pictures.rows === 0 || train.pictures.rows === 0) return UNKNOWN;
  const limit = { limitBytes: PICTURE_SCAN_BYTES };
  const heldOut = await evaluation.pictureKeys(limit);
  if (!heldOut.complete) return UNKNOWN;
  const trained = await train.pictureKeys(limit);
  const known = new Set([...trained.ofRow.values()].flat());
  const shown = new Set([...heldOut.ofRow.values()].flat());
  const both = [...shown].filter((key) => known.has(key));
  if (!trained.complete && both.length === 0) return UNKNOWN;
  const found = { pictures: shown.size, inTraining: both.length };
  return { heldOut: found, note: overlapNote(train.name, evaluation.name, found) };
}

function overlapNote(train: string, evaluation: string, found: HeldOutPictures): string[] {
  const { pictures, inTraining } = found;
  if (inTraining === 0) return [];
  return [
    `${evaluation}: ${inTraining} of ${pictures} held-out pictures are in the training rows ` +
    `(${train}) too, so that the evaluation measures questions about known pictures. Leave these ` +
    "rows out of one side, or let dataset.eval_data_path: null split the training rows",
  ];
}
