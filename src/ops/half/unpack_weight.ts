/**
 * A packed weight as a float32 tensor: what ops without a kernel for packed weights compute with,
 * for as long as they need it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../element_count.ts";
import { type PackedFormat, type PackedWeight, widenBits } from "./packed_weight.ts";
import { fusedKernels } from "../fused_kernels.ts";
import { unpackOnGpu } from "../webgpu/product/unpacking.ts";

/**
 * Words of packed numbers as float32: on the host where tensors are there, by a small program on a
 * GPU. The composite of every op on packed weights. No gradient.
 *
 * @param words int32 [⌈size / 2⌉]
 * @param shape of the numbers
 */
export function unpackWords(
  words: tf.Tensor,
  format: PackedFormat,
  shape: readonly number[],
): tf.Tensor {
  const size = elementCount(shape);
  if (tf.getBackend() === "webgpu") {
    return unpackOnGpu(words, format, shape);
  }
  const values = words.dataSync();
  const bits = new Uint16Array(values.buffer, values.byteOffset, size);
  return tf.tensor(widenBits(bits, format), [...shape]);
}

/** A packed weight as float32, of the weight's shape; the caller's to free. No gradient. */
export function unpackWeight(weight: PackedWeight): tf.Tensor {
  return fusedKernels()?.unpack(weight) ??
    unpackWords(weight.words, weight.format, weight.shape);
}
