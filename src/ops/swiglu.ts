/**
 * The gate of a SwiGLU feed-forward layer, silu(gate) · up with silu(x) = x σ(x) (Shazeer, 2020).
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
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

/**
 * silu(gate) · up.
 *
 * @param gate any shape
 * @param up the same shape
 * @returns the same shape
 */
export function swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return wasmKernels()?.swiglu(gate, up) ?? swigluComposite(gate, up);
}
