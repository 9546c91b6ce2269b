/**
 * Rounding to 16-bit formats in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { HalfFormat } from "../precision.ts";
import { elementwise } from "./elementwise.ts";
import { laneValue } from "./program.ts";

/** The bits of a float32 that is no NaN, rounded, in WGSL. */
const ROUNDED: Record<HalfFormat, string> = {
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

/** The values of `x` in a 16-bit format, as float32. No gradient. */
export function roundHalfOnGpu(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const parts = laneValue(x.size).width === 4
    ? `V(${["x", "y", "z", "w"].map((part) => `round_one(x0.${part})`).join(", ")})`
    : "round_one(x0)";
  return elementwise({
    name: `GpuRoundHalf ${format}`,
    flops: 8,
    inputs: [x],
    declarations: `
fn rounded(bits: u32) -> u32 { ${ROUNDED[format]} }
fn round_one(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return bitcast<f32>(select(rounded(bits), 0x7fc00000u, is_nan));
}`,
    body: `y = ${parts};`,
  });
}
