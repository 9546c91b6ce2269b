/**
 * nanoVLM's pixel shuffle: the patches of each s × s square of the grid become one token with
 * s² times the channels.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";

// N images, P patches (a square number), C channels, s factor

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
