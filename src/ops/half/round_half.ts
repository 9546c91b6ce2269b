/**
 * Rounding of float32 values to those that a 16-bit format has, to the nearest, ties to even, as
 * `tensor.to(torch.bfloat16).float()` gives: infinity beyond the format's range, its subnormal
 * numbers, NaN for NaN.
 *
 * On WebGPU an implementation may flush float32's own subnormal numbers (below 1.2e-38) to zero,
 * which bfloat16 shares; the rounding itself is integer arithmetic and exact. float16's subnormal
 * numbers are ordinary ones of float32.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "./half_precision.ts";
import type { HalfFormat } from "./precision.ts";
import { wordKernels } from "../fused_kernels.ts";
import { withLazyGradients } from "../tape/lazy_gradients.ts";

/** Rounds numbers on the host. */
export function roundHalfOnHost(values: Float32Array, format: HalfFormat): Float32Array {
  return format === "bf16"
    ? bfloat16ToFloat32(float32ToBfloat16(values))
    : float16ToFloat32(float32ToFloat16(values));
}

/**
 * The values of `x` in a 16-bit format. No gradient: {@linkcode castHalf} has one.
 *
 * @param x float32, any shape
 * @returns float32, the same shape
 */
export function roundHalf<T extends tf.Tensor>(x: T, format: HalfFormat): T {
  const kernels = wordKernels();
  if (kernels !== null) return kernels.roundHalf(x, format) as T;
  return tf.tensor(roundHalfOnHost(Float32Array.from(x.dataSync()), format), x.shape) as T;
}

/**
 * A value that becomes 16 bits wide, as `x.to(torch.float16)`: rounded, and so is its gradient.
 *
 * @param x float32, any shape
 * @param format null: nothing happens
 * @returns float32, the same shape
 */
export function castHalf<T extends tf.Tensor>(x: T, format: HalfFormat | null): T {
  if (format === null) return x;
  return withLazyGradients<T>({
    inputs: { x },
    forward: () => roundHalf(x, format),
    save: [],
    gradient: (dy) => ({ x: () => roundHalf(dy, format) }),
  });
}
