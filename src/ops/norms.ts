/**
 * Normalisation over the last dimension.
 *
 * - Layer normalisation, y = (x − mean) / √(var + eps) · γ + β, with the biased variance (Ba et al.,
 *   2016; torch.nn.LayerNorm).
 * - Root-mean-square normalisation, y = x / √(mean(x²) + eps) · γ (Zhang and Sennrich, 2019;
 *   nanoVLM's RMSNorm).
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
 * @param bias β [C]
 * @param eps added to the variance
 * @returns [..., C]
 */
export function layerNormComposite(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor,
  eps: number,
): tf.Tensor {
  const centred = x.sub(x.mean(-1, true)); // [..., C]
  const variance = centred.square().mean(-1, true); // [..., 1]
  return centred.mul(variance.add(eps).rsqrt()).mul(weight).add(bias); // [..., C]
}

/**
 * Layer normalisation over the last dimension.
 *
 * @param x [..., C]
 * @param weight γ [C]
 * @param bias β [C]
 * @param eps added to the variance
 * @returns [..., C]
 */
export function layerNorm(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor,
  eps: number,
): tf.Tensor {
  return fusedKernels()?.layerNorm(x, weight, bias, eps) ??
    layerNormComposite(x, weight, bias, eps);
}

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
