/**
 * Numbers in 16 bits as float32, in WGSL.
 * @module
 */
import type { HalfFileFormat } from "../../half/packed_weight.ts";

/**
 * Bodies of `fn widen(half: u32) -> u32`, from the bits of a number in 16 bits to those of the same
 * number as float32, in integer arithmetic, because a GPU may not keep small or special floats.
 */
export const WIDEN: Record<HalfFileFormat, string> = {
  BF16: "return half << 16u;",
  F16: `
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 31u;
    let fraction = half & 1023u;
    if (exponent == 31u) { return sign | 0x7f800000u | (fraction << 13u); }
    if (exponent > 0u) { return sign | ((exponent + 112u) << 23u) | (fraction << 13u); }
    if (fraction == 0u) { return sign; }
    let top = firstLeadingBit(fraction); // a subnormal number: 2^(top - 24) at least
    return sign | ((top + 103u) << 23u) | ((fraction << (23u - top)) & 0x7fffffu);`,
};
