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
import { wasmKernels } from "./wasm/kernels.ts";
import { withLazyGradients } from "./lazy_gradients.ts";

/** Rounds numbers on the host. */
export function roundHalfOnHost(values: Float32Array, format: HalfFormat): Float32Array {
  return format === "bf16"
    ? bfloat16ToFloat32(float32ToBfloat16(values))
    : float16ToFloat32(float32ToFloat16(values));
}

/** The bits of a float32 that is no NaN, rounded, in WGSL. */
const WGSL: Record<HalfFormat, string> = {
  bf16: "return (bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u;",
  // Below 2^-14 all numbers are multiples of 2^-24: `shift` bits of the fraction go. From 2^-25 down
  // (a tie, to even) that is zero.
  fp16: `
    let sign = bits & 0x80000000u;
    let size = bits & 0x7fffffffu;
    if (size >= 0x38800000u) {
      let up = (size + 0xfffu + ((size >> 13u) & 1u)) & 0xffffe000u;
      return sign | select(up, 0x7f800000u, up >= 0x47800000u);
    }
    if (size <= 0x33000000u) { return sign; }
    let shift = 126u - (size >> 23u);
    let fraction = (size & 0x7fffffu) | 0x800000u;
    let count = (fraction + (1u << (shift - 1u)) - 1u + ((fraction >> shift) & 1u)) >> shift;
    return sign | bitcast<u32>(f32(count) * 5.9604644775390625e-8);`,
};

/** The part of tfjs's webgpu backend that runs a program of ours. */
interface ProgramBackend {
  runWebGPUProgram(program: unknown, inputs: tf.TensorInfo[], dtype: tf.DataType): tf.TensorInfo;
}

/** WebGPU's least limit of workgroups in a dim. */
const MOST_WORKGROUPS = 65_535;

/** On webgpu: one thread a number. */
function roundOnGpu(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const workgroups = Math.ceil(x.size / 64);
  const program = {
    variableNames: ["x"],
    outputShape: [x.size],
    shaderKey: `nanoRoundHalf ${format}`,
    dispatchLayout: { x: [0] },
    dispatch: workgroups <= MOST_WORKGROUPS
      ? [workgroups, 1, 1]
      : [MOST_WORKGROUPS, Math.ceil(workgroups / MOST_WORKGROUPS), 1],
    workgroupSize: [64, 1, 1],
    size: true,
    getUserCode: () => `
      fn rounded(bits : u32) -> u32 { ${WGSL[format]} }
      fn main(index : i32) {
        if (index < uniforms.size) {
          let bits = bitcast<u32>(x[index]);
          let isNan = (bits & 0x7fffffffu) > 0x7f800000u;
          setOutputAtIndex(index, bitcast<f32>(select(rounded(bits), 0x7fc00000u, isNan)));
        }
      }
    `,
  };
  return tf.tidy(() => {
    const backend = tf.backend() as unknown as ProgramBackend;
    const flat = x.reshape([x.size]);
    return tf.engine().makeTensorFromTensorInfo(
      backend.runWebGPUProgram(program, [flat], "float32"),
    ).reshape(x.shape);
  });
}

/** The plain path of {@linkcode roundHalf}: on the host where tensors are there, else on the GPU. */
export function roundHalfComposite(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  if (tf.getBackend() === "webgpu") return roundOnGpu(x, format);
  return tf.tensor(roundHalfOnHost(Float32Array.from(x.dataSync()), format), x.shape);
}

/**
 * The values of `x` in a 16-bit format. No gradient: {@linkcode castHalf} has one.
 *
 * @param x float32, any shape
 * @returns float32, the same shape
 */
export function roundHalf<T extends tf.Tensor>(x: T, format: HalfFormat): T {
  return (wasmKernels()?.roundHalf(x, format) ?? roundHalfComposite(x, format)) as T;
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
