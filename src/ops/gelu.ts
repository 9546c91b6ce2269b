/**
 * The tanh approximation of GELU, x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))) (Hendrycks and
 * Gimpel, 2016; torch's `GELU(approximate="tanh")`).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import { halfGelu } from "./half/half_activations.ts";
import { halfFormat } from "./half/precision.ts";

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

/**
 * The plain composite.
 *
 * @param x any shape
 * @returns the same shape
 */
export function geluComposite(x: tf.Tensor): tf.Tensor {
  const inner = x.mul(x.square().mul(CUBIC).add(1)).mul(SQRT_2_OVER_PI);
  return x.mul(inner.tanh().add(1)).mul(0.5);
}

/**
 * tanh-GELU; in a 16-bit pass of a rounded x, which is kept in 16 bits.
 *
 * @param x any shape
 * @returns the same shape
 */
export function gelu(x: tf.Tensor): tf.Tensor {
  const half = halfFormat();
  if (half !== null) return halfGelu(half, x, gelu);
  return fusedKernels()?.gelu(x) ?? geluComposite(x);
}
