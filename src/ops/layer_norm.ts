/**
 * Layer normalisation over the last dimension, y = (x − mean) / √(var + eps) · γ + β, with the
 * biased variance (Ba et al., 2016; torch.nn.LayerNorm).
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
