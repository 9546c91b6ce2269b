/**
 * Images as rows of patches, so that the patch convolution (kernel = stride = patch size) is one
 * product with the kernel [C, 3·p·p].
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";

// N images, S image side, p patch side, P = (S/p)² patches

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
