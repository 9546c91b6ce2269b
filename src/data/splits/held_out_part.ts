/**
 * The part of the training rows that is held out if a data set has no evaluation data, and whether
 * rows that show the same picture stay on one side (`dataset.split_by`).
 *
 * @module
 */
import { DataError } from "../data_error.ts";
import type { Dataset } from "../dataset.ts";
import type { EncodedImage } from "../rows/image_cell.ts";
import { PICTURE_SCAN_BYTES, type PictureKeys } from "./picture_keys.ts";
import type { HeldOutPictures, PictureDataset } from "./picture_overlap.ts";
import type { SplitRule } from "./train_test_split.ts";

/** What stays on one side: each row on its own, all rows of a picture, or what the rows call for. */
export type SplitBy = "auto" | "row" | "picture";

/** The share of rows held out for evaluation if no evaluation data is named. */
export const EVAL_SHARE = 0.2;

/** The seed of that split. */
export const EVAL_SPLIT_SEED = 42;

/** How to split. */
export interface HeldOutOptions {
  /** Default `auto`: `picture` if rows share pictures, else `row`. */
  readonly splitBy?: SplitBy;
  /** Default `datasets`; `legacy` is always by row. */
  readonly splitRule?: SplitRule;
}

/** Training rows and held-out rows. */
export interface HeldOutPart<D> {
  readonly train: D;
  readonly test: D;
  /** Whether held-out pictures are in training rows too; null: not known. */
  readonly heldOut: HeldOutPictures | null;
  /** What a user should know; none or one. */
  readonly note: readonly string[];
}

/**
 * Holds out a fifth of the rows.
 *
 * By row it is `datasets`' `train_test_split(test_size=0.2, seed=42)`, to the row. By picture, the
 * same permutation decides, and rows that share a picture are taken together. `auto` reads up to
 * 2 GiB of pictures to see whether rows share some: if it found none until there, it splits by row
 * and says how far it looked. A stream is placed by the first picture of each row, which costs
 * nothing and needs no look ahead; rows that share another picture than the first may be parted.
 *
 * @throws {DataError} if one part would be empty
 */
export async function heldOutPart<E extends { readonly images: readonly EncodedImage[] }>(
  loaded: PictureDataset<E>,
  { splitBy = "auto", splitRule = "datasets" }: HeldOutOptions,
): Promise<HeldOutPart<PictureDataset<E>>> {
  const byRow = splitRule === "legacy" || splitBy === "row";
  if (loaded.streaming) {
    const parts = loaded.split(EVAL_SHARE, EVAL_SPLIT_SEED, splitRule, !byRow);
    return { ...parts, heldOut: null, note: [] };
  }
  if (byRow || loaded.pictures.rows === 0) {
    return { ...splitRows(loaded, splitRule), heldOut: null, note: [] };
  }
  const limitBytes = splitBy === "auto" ? PICTURE_SCAN_BYTES : Infinity;
  const keys = await loaded.pictureKeys({ limitBytes });
  if (keys.sharingRows === 0) {
    const note = keys.complete ? [] : [
      `${loaded.name}: no two of the first ${keys.ofRow.size} rows show the same picture, and the ` +
      "others were not looked at; split_by: picture looks at all",
    ];
    const parts = splitRows(loaded, splitRule);
    const pictures = picturesOf(parts.test, keys);
    return { ...parts, heldOut: keys.complete ? { pictures, inTraining: 0 } : null, note };
  }
  if (keys.pictures === 1) return allAlike(loaded, splitBy, splitRule);
  const parts = loaded.split(EVAL_SHARE, EVAL_SPLIT_SEED, "datasets", keys.groups);
  const heldOut = { pictures: picturesOf(parts.test, keys), inTraining: 0 };
  return { ...parts, heldOut, note: [sharedNote(loaded, parts.test, keys)] };
}

function splitRows<E extends { readonly images: readonly EncodedImage[] }>(
  loaded: Dataset<E>,
  rule: SplitRule,
): { train: Dataset<E>; test: Dataset<E> } {
  return loaded.split(EVAL_SHARE, EVAL_SPLIT_SEED, rule);
}

/** All rows show one picture: no split keeps it on one side. */
function allAlike<E extends { readonly images: readonly EncodedImage[] }>(
  loaded: Dataset<E>,
  splitBy: SplitBy,
  rule: SplitRule,
): HeldOutPart<Dataset<E>> {
  if (splitBy === "picture") {
    throw new DataError(
      `Cannot split ${loaded.name} by picture: all its rows show the same picture; give ` +
        "eval_data_path, or set dataset.split_by to row",
    );
  }
  return {
    ...splitRows(loaded, rule),
    heldOut: { pictures: 1, inTraining: 1 },
    note: [
      `${loaded.name}: all rows show the same picture, so that rows are held out and no pictures`,
    ],
  };
}

/** Different pictures of a part. */
function picturesOf<E extends { readonly images: readonly EncodedImage[] }>(
  part: Dataset<E>,
  { ofRow }: PictureKeys,
): number {
  const shown = new Set<number>();
  for (let i = 0; i < part.length; i++) {
    for (const key of ofRow.get(part.rowOf(i)) ?? []) shown.add(key);
  }
  return shown.size;
}

function sharedNote<E extends { readonly images: readonly EncodedImage[] }>(
  loaded: Dataset<E>,
  test: Dataset<E>,
  { pictures, sharingRows }: PictureKeys,
): string {
  const rows = new Set(Array.from({ length: test.length }, (_, i) => test.rowOf(i))).size;
  return `${loaded.name}: ${sharingRows} rows share pictures (${pictures} different ones), so that ` +
    `all rows of a picture are held out together: ${rows} of ${loaded.pictures.of} rows. ` +
    "dataset.split_by: row holds out rows alone, as datasets' train_test_split does";
}
