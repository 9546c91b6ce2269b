/**
 * A packed weight as a float32 tensor: what ops without a kernel for packed weights compute with,
 * for as long as they need it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type PackedFormat, type PackedWeight, widenBits } from "./packed_weight.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { WIDEN } from "./webgpu/widen.ts";

/** The part of tfjs's webgpu backend that runs a program of ours. */
interface ProgramBackend {
  runWebGPUProgram(program: unknown, inputs: tf.TensorInfo[], dtype: tf.DataType): tf.TensorInfo;
}

/** Workgroups of a dispatch's first two dims; WebGPU allows 65,535 in each. */
function workgroups(count: number): [number, number, number] {
  const most = 65_535;
  return count <= most ? [count, 1, 1] : [most, Math.ceil(count / most), 1];
}

/** On webgpu: one thread a number. */
function unpackOnGpu(words: tf.Tensor, format: PackedFormat, size: number): tf.Tensor {
  const workgroupSize: [number, number, number] = [64, 1, 1];
  const program = {
    variableNames: ["words"],
    outputShape: [size],
    shaderKey: `nanoUnpack${format}`,
    dispatchLayout: { x: [0] },
    dispatch: workgroups(Math.ceil(size / workgroupSize[0])),
    workgroupSize,
    size: true,
    getUserCode: () => `
      fn widen(half : u32) -> u32 { ${WIDEN[format]} }
      fn main(index : i32) {
        if (index < uniforms.size) {
          let word = bitcast<u32>(words[index / 2]);
          let half = select(word & 0xffffu, word >> 16u, (index & 1) == 1);
          setOutputAtIndex(index, bitcast<f32>(widen(half)));
        }
      }
    `,
  };
  const backend = tf.backend() as unknown as ProgramBackend;
  const info = backend.runWebGPUProgram(program, [words], "float32");
  return tf.engine().makeTensorFromTensorInfo(info);
}

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
  const size = shape.reduce((product, dim) => product * dim, 1);
  if (tf.getBackend() === "webgpu") {
    return tf.tidy(() => unpackOnGpu(words, format, size).reshape([...shape]));
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
