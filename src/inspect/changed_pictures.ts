/**
 * A picture as `dataset.augmentation` changes it in the first epochs.
 *
 * @module
 */
import { encodePng } from "../data/embedded/embedded_shapes_png.ts";
import { augmentedPicture } from "../image/augment/augmented_picture.ts";
import { type AugmentationOptions, augmentationPlan } from "../image/augment/plan.ts";
import { pillowResize } from "../image/pillow_resize.ts";

/** Epochs that are shown. */
export const SHOWN_EPOCHS = 4;
/** Longest side of a shown picture, pixels. */
const SHOWN_SIDE = 128;

/** Where a picture stands. */
export interface ChangedPlace {
  /** `training.seed`. */
  readonly seed: number;
  /** Number of the row in the data set. */
  readonly row: number;
  /** Number of the picture in the row. */
  readonly picture: number;
  /** False if a text of the row says left or right. */
  readonly mayFlip: boolean;
}

/**
 * The picture in each of the first epochs, small.
 *
 * @param bytes its file
 * @param options how far it may be changed
 * @returns data URLs of PNG files
 * @throws {ImageDecodeError} if it cannot be decoded
 */
export async function changedPictures(
  bytes: Uint8Array,
  options: AugmentationOptions,
  { seed, row, picture, mayFlip }: ChangedPlace,
): Promise<string[]> {
  const urls: string[] = [];
  for (let epoch = 0; epoch < SHOWN_EPOCHS; epoch++) {
    const plan = augmentationPlan(options, { seed, epoch, row, picture }, mayFlip);
    const image = await augmentedPicture(bytes, plan);
    const scale = Math.min(1, SHOWN_SIDE / Math.max(image.width, image.height));
    const side = (length: number) => Math.max(1, Math.round(scale * length));
    const small = pillowResize(image, side(image.width), side(image.height));
    urls.push(`data:image/png;base64,${encodePng(small).toBase64()}`);
  }
  return urls;
}
