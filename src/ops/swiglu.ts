/**
 * The gate of a SwiGLU feed-forward layer, silu(gate) · up with silu(x) = x σ(x) (Shazeer, 2020).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type HalfFormat, halfFormat } from "./precision.ts";
import { castHalf } from "./round_half.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { wasmKernels } from "./wasm/kernels.ts";

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

/** The plain composite of {@linkcode swiglu} in a 16-bit pass: R(R(silu(gate)) · up). */
export function swigluHalfComposite(
  gate: tf.Tensor,
  up: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  const [g, u] = [gate, up].map((factor) => castHalf(factor, format)); // no change but to gradients
  return castHalf(castHalf(g.mul(g.sigmoid()), format).mul(u), format);
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
  if (half !== null) {
    return wasmKernels()?.swigluHalf(gate, up, half) ?? swigluHalfComposite(gate, up, half);
  }
  return fusedKernels()?.swiglu(gate, up) ?? swigluComposite(gate, up);
}
