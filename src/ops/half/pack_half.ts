/**
 * Values of a 16-bit pass in 16 bits each: how such a pass keeps them for its backward pass, in
 * half the memory of float32. Values that are rounded before use lose nothing.
 *
 * Two numbers share an int32 word, the first in the lower half, as in `packed_weight.ts`.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { float32ToBfloat16, float32ToFloat16 } from "./half_precision.ts";
import { joinHalves, PACKED_FORMATS } from "./packed_weight.ts";
import type { HalfFormat } from "./precision.ts";
import { unpackWords } from "./unpack_weight.ts";
import { fusedKernels, wordKernels } from "../fused_kernels.ts";
import type { PackedMatrix } from "./half_matrix.ts";

/**
 * The bits of `x` in a 16-bit format, rounded as `roundHalf()` does. No gradient.
 *
 * @param x float32, any shape
 * @returns int32 [⌈size / 2⌉]
 */
export function packHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  return wordKernels()?.packHalf(x, format) ?? packHalfOnHost(x, format);
}

function packHalfOnHost(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const values = Float32Array.from(x.dataSync());
  const bits = format === "bf16" ? float32ToBfloat16(values) : float32ToFloat16(values);
  return tf.tensor1d(joinHalves(bits), "int32");
}

/**
 * The numbers that {@linkcode packHalf} has packed. No gradient.
 *
 * @param words int32 [⌈size / 2⌉]
 * @param shape of the numbers
 * @returns float32
 */
export function unpackHalf(
  words: tf.Tensor,
  format: HalfFormat,
  shape: readonly number[],
): tf.Tensor {
  return unpackWords(words, PACKED_FORMATS[format], shape);
}

/**
 * R(x) in 16 bits, as an op keeps it for its backward pass: words, or on a backend that rounds as it
 * stores a float32 tensor that is stored in 16 bits, which is x itself if it is stored so. No gradient.
 *
 * @param x float32, any shape
 */
export function keepHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  return fusedKernels()?.rounding?.store(x, format) ?? packHalf(x, format);
}

/** What {@linkcode keepHalf} has kept, as float32 numbers; the caller frees them. */
export function keptNumbers(
  kept: tf.Tensor,
  format: HalfFormat,
  shape: readonly number[],
): tf.Tensor {
  return kept.dtype === "int32" ? unpackHalf(kept, format, shape) : kept.reshape([...shape]);
}

/** What {@linkcode keepHalf} has kept, as a matrix of a product. */
export function keptMatrix(
  kept: tf.Tensor,
  format: HalfFormat,
  shape: readonly number[],
): PackedMatrix {
  return { words: kept, format: PACKED_FORMATS[format], shape };
}

/** The words that the data of a tensor were packed to last. */
const packed = new WeakMap<tf.DataId, { readonly format: HalfFormat; readonly words: tf.Tensor }>();

/**
 * `keepHalf()` of a tensor that several ops read, packed once for all of them. The words belong to
 * the `tf.tidy` scope of the first op that calls this and are freed with it unless an op has saved
 * them.
 *
 * @param x float32, any shape; must not change while the scope lasts
 * @returns as `keepHalf()`; the caller must not free them
 */
export function sharedKeptHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const before = packed.get(x.dataId);
  if (before?.format === format && !before.words.isDisposed) return before.words;
  const words = keepHalf(x, format);
  packed.set(x.dataId, { format, words });
  return words;
}
