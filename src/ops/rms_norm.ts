/**
 * Root-mean-square normalisation, y = x / √(mean(x²) + eps) · γ (Zhang and Sennrich, 2019;
 * nanoVLM's RMSNorm).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";

/**
 * The plain composite.
 *
 * @param x [..., C]
 * @param weight γ [C]
 * @param eps added to the mean square
 * @returns [..., C]
 */
export function rmsNormComposite(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  const inverse = x.square().mean(-1, true).add(eps).rsqrt(); // [..., 1]
  return x.mul(inverse).mul(weight); // [..., C]
}

/**
 * Root-mean-square normalisation over the last dimension.
 *
 * @param x [..., C]
 * @param weight γ [C]
 * @param eps added to the mean square
 * @returns [..., C]
 */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  return fusedKernels()?.rmsNorm(x, weight, eps) ?? rmsNormComposite(x, weight, eps);
}
