/**
 * The gate of a SwiGLU feed-forward layer, silu(gate) · up with silu(x) = x σ(x) (Shazeer, 2020).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import { halfSwiglu } from "./half/half_activations.ts";
import { halfFormat } from "./half/precision.ts";

/**
 * The plain composite.
 *
 * @param gate any shape
 * @param up the same shape
 * @returns the same shape
 */
export function swigluComposite(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return gate.mul(gate.sigmoid()).mul(up);
}

/**
 * silu(gate) · up; in a 16-bit pass of rounded gate and up, rounded as `precision.ts` says.
 *
 * @param gate any shape
 * @param up the same shape
 * @returns the same shape
 */
export function swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  const half = halfFormat();
  if (half !== null) return halfSwiglu(half, gate, up);
  return fusedKernels()?.swiglu(gate, up) ?? swigluComposite(gate, up);
}
