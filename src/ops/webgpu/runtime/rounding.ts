/**
 * Rounding to 16-bit formats in WGSL, for any shader.
 * @module
 */
import type { HalfFileFormat } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import type { LaneValue } from "./lane_value.ts";

/** Rounding of a shader: to a format, on values of one type. */
export interface Rounding {
  readonly format: HalfFormat;
  readonly type: LaneValue["type"];
}

/**
 * The bits of float32 numbers other than NaN, rounded, with `U` for u32 or a vector of them: integer
 * arithmetic, because a GPU's conversion to float16 may round in another way.
 */
const ROUNDED: Record<HalfFormat, string> = {
  bf16: "return (bits + U(0x7fffu) + ((bits >> U(16u)) & U(1u))) & U(0xffff0000u);",
  // Below 2^-14 all numbers are multiples of 2^-24; to scale by a power of two is exact, and WGSL's
  // round() takes ties to even.
  fp16: `
  let size = bits & U(0x7fffffffu);
  let up = (size + U(0xfffu) + ((size >> U(13u)) & U(1u))) & U(0xffffe000u);
  let large = select(up, U(0x7f800000u), up >= U(0x47800000u));
  let small = bitcast<U>(round(bitcast<F>(size) * 16777216.0) * 5.9604644775390625e-8);
  return (bits & U(0x80000000u)) | select(large, small, size < U(0x38800000u));`,
};

/** WGSL of `fn round_half(x: type) -> type`. */
export function roundingDeclarations({ format, type }: Rounding): string {
  const bits = type === "f32" ? "u32" : "vec4<u32>";
  const body = ROUNDED[format].replaceAll("U(", `${bits}(`).replaceAll("<U>", `<${bits}>`)
    .replaceAll("<F>", `<${type}>`);
  return `
fn rounded_bits(bits: ${bits}) -> ${bits} {
  ${body}
}
fn round_half(x: ${type}) -> ${type} {
  let bits = bitcast<${bits}>(x);
  let is_nan = (bits & ${bits}(0x7fffffffu)) > ${bits}(0x7f800000u);
  return bitcast<${type}>(select(rounded_bits(bits), ${bits}(0x7fc00000u), is_nan));
}`;
}

/**
 * WGSL of `fn words_of(v: vec4<f32>) -> vec2<u32>`: four rounded numbers in 16 bits each, the first in
 * the lower half of the first word. Integer arithmetic, as in {@linkcode ROUNDED}.
 */
export const WORDS_OF: Record<HalfFileFormat, string> = {
  BF16: `
fn words_of_bf16(v: vec4<f32>) -> vec2<u32> {
  let bits = bitcast<vec4<u32>>(v) >> vec4<u32>(16u);
  return vec2<u32>(bits.x | (bits.y << 16u), bits.z | (bits.w << 16u));
}`,
  // Below 2^-14 the bits count multiples of 2^-24.
  F16: `
fn words_of_f16(v: vec4<f32>) -> vec2<u32> {
  let all = bitcast<vec4<u32>>(v);
  let size = all & vec4<u32>(0x7fffffffu);
  let normal = (size - vec4<u32>(0x38000000u)) >> vec4<u32>(13u);
  let is_small = size < vec4<u32>(0x38800000u);
  let small = vec4<u32>(select(vec4<f32>(), bitcast<vec4<f32>>(size), is_small) * 16777216.0);
  let special = select(vec4<u32>(0x7c00u), vec4<u32>(0x7e00u), size > vec4<u32>(0x7f800000u));
  let number = select(select(normal, small, is_small), special, size >= vec4<u32>(0x7f800000u));
  let bits = ((all >> vec4<u32>(16u)) & vec4<u32>(0x8000u)) | number;
  return vec2<u32>(bits.x | (bits.y << 16u), bits.z | (bits.w << 16u));
}`,
};
