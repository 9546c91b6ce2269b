/**
 * Ops that put values in other places, or rotate pairs of them.
 *
 * - Patches cut images into rows, so that the patch convolution (kernel = stride = patch size) is one
 *   product with the kernel [C, 3·p·p].
 * - nanoVLM's pixel shuffle makes one token of the patches of each s × s square of the grid, with s²
 *   times the channels.
 * - Rotary position embedding (Su et al., 2021) in Llama's half-split form: the first half of a
 *   head's dimensions is paired with the second.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import type { RotaryAngles } from "./attention/rotary_angles.ts";

// N images, S image side, p patch side, P patches, C channels, s shuffle factor; B batch, T tokens,
// H heads, D head dim

/**
 * Cuts square images into patches, in row-major order, each flattened as [3, p, p].
 *
 * @param images [N, 3, S, S]
 * @param patchSize p, a divisor of S
 * @returns [N, P, 3·p·p]
 */
export function patches(images: tf.Tensor4D, patchSize: number): tf.Tensor3D {
  return fusedKernels()?.patches(images, patchSize) ?? patchesComposite(images, patchSize);
}

/** The plain composite of {@linkcode patches}. */
export function patchesComposite(images: tf.Tensor4D, patchSize: number): tf.Tensor3D {
  const [N, channels, S] = images.shape;
  const side = S / patchSize;
  return images.reshape([N, channels, side, patchSize, side, patchSize])
    .transpose([0, 2, 4, 1, 3, 5]) // [N, S/p, S/p, 3, p, p]
    .reshape([N, side * side, channels * patchSize * patchSize]); // [N, P, 3·p·p]
}

/**
 * @param x [N, P, C]
 * @param factor s, a divisor of √P
 * @returns [N, P/s², C·s²]
 */
export function pixelShuffle(x: tf.Tensor3D, factor: number): tf.Tensor3D {
  return fusedKernels()?.pixelShuffle(x, factor) ?? pixelShuffleComposite(x, factor);
}

/** The plain composite of {@linkcode pixelShuffle}. */
export function pixelShuffleComposite(x: tf.Tensor3D, factor: number): tf.Tensor3D {
  const [N, P, C] = x.shape;
  const side = Math.round(Math.sqrt(P));
  const out = side / factor;
  return tf.tidy(() =>
    x.reshape([N, out, factor, out, factor * C]) // neighbours of a row lie together already
      .transpose([0, 1, 3, 2, 4])
      .reshape([N, out * out, factor * factor * C])
  );
}

/**
 * The plain composite.
 *
 * @param x [B, T, H, D]
 * @param angles of the same positions
 * @returns [B, T, H, D]
 */
export function ropeComposite(x: tf.Tensor4D, angles: RotaryAngles): tf.Tensor4D {
  const [B, T, H, D] = x.shape;
  const half = D / 2;
  const first = x.slice([0, 0, 0, 0], [B, T, H, half]); // [B, T, H, D/2]
  const second = x.slice([0, 0, 0, half], [B, T, H, half]); // [B, T, H, D/2]
  return tf.concat([
    first.mul(angles.cos).sub(second.mul(angles.sin)),
    second.mul(angles.cos).add(first.mul(angles.sin)),
  ], 3) as tf.Tensor4D; // [B, T, H, D]
}

/**
 * Rotates queries or keys by their positions.
 *
 * @param x [B, T, H, D]
 * @param angles of the same positions
 * @returns [B, T, H, D]
 */
export function rope(x: tf.Tensor4D, angles: RotaryAngles): tf.Tensor4D {
  return fusedKernels()?.rope(x, angles.cos, angles.sin) ?? ropeComposite(x, angles);
}
