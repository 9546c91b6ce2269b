/**
 * Encodes the pictures of a prompt batch.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { imagesToTensor, type ImageTiles } from "../model/batch.ts";
import type { PassOptions, VLM } from "../model/vlm.ts";

// N images, L image tokens an image, C channels, S image side

/** Patches that the vision encoder takes at once; more would only need more memory. */
const PATCHES_AT_ONCE = 2048;

/** Images to embeddings, a few at a time, [N, 3, S, S] → [N·L, C]. */
export function encodeInParts(
  model: VLM,
  images: tf.Tensor4D,
  pass: PassOptions,
): tf.Tensor2D {
  const { vit_img_size, vit_patch_size } = model.config;
  const patches = Math.floor(vit_img_size / vit_patch_size) ** 2;
  const step = Math.max(1, Math.floor(PATCHES_AT_ONCE / patches));
  const N = images.shape[0];
  if (N <= step) return model.encodeImages(images, pass);
  const parts: tf.Tensor2D[] = [];
  for (let first = 0; first < N; first += step) {
    parts.push(tf.tidy(() => {
      const part = images.slice([first, 0, 0, 0], [Math.min(step, N - first), -1, -1, -1]);
      return model.encodeImages(part, pass);
    }));
  }
  return tf.concat(parts);
}

/** Embeddings of pictures, each distinct picture encoded once, [N·L, C]; null without any. */
export function encodeDistinct(
  model: VLM,
  images: readonly ImageTiles[],
  pass: PassOptions,
): tf.Tensor2D | null {
  const { vit_img_size, mp_image_token_length: L } = model.config;
  const firstRow = new Map<ImageTiles, number>();
  let count = 0;
  for (const image of images) {
    if (firstRow.has(image)) continue;
    firstRow.set(image, count);
    count += image.tileCount * L;
  }
  if (count === 0) return null;
  const kept = model.keptFeatures([...firstRow.keys()]);
  const encoded = kept !== undefined
    ? model.embedFeatures(kept, pass)
    : encodeInParts(model, imagesToTensor([...firstRow.keys()], vit_img_size)!, pass);
  if (firstRow.size === images.length) return encoded;
  const indices = images.flatMap((image) =>
    Array.from({ length: image.tileCount * L }, (_, i) => firstRow.get(image)! + i)
  );
  return tf.gather(encoded, tf.tensor1d(indices, "int32"));
}
