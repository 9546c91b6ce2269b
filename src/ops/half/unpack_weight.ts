/**
 * A packed weight as a float32 tensor, for ops without a kernel for packed weights.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../element_count.ts";
import { type PackedFormat, type PackedWeight, packedWords, widenBits } from "./packed_weight.ts";
import { wordKernels } from "../fused_kernels.ts";

/**
 * Packed numbers as float32: by a kernel if the backend has one, else on the host. No gradient.
 *
 * @param words int32, two 16-bit words in each
 * @param shape of the numbers
 */
export function unpackWords(
  words: tf.Tensor,
  format: PackedFormat,
  shape: readonly number[],
): tf.Tensor {
  const kernels = wordKernels();
  if (kernels !== null) return kernels.unpack(words, format, shape);
  const values = words.dataSync();
  const count = packedWords(format, elementCount(shape));
  const bits = new Uint16Array(values.buffer, values.byteOffset, count);
  return tf.tensor(widenBits(bits, format), [...shape]);
}

/** A packed weight as float32, of the weight's shape; the caller frees it. No gradient. */
export function unpackWeight(weight: PackedWeight): tf.Tensor {
  return unpackWords(weight.words, weight.format, weight.shape);
}
