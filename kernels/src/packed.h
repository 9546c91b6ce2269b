// 16-bit floats to 32-bit ones, exactly: every float16 and bfloat16 is a float32. And 8-bit numbers with a scale.
#pragma once
#include "simd.h"

// How a weight is stored.
#define FORMAT_F32 0
#define FORMAT_BF16 1
#define FORMAT_F16 2
// Blocks of 32 numbers: a float32 scale and 32 signed bytes, which it multiplies.
#define FORMAT_Q8 3
#define Q8_NUMBERS 32
#define Q8_WORDS 18

typedef uint16_t u16;

// Where number `first` is; of 8-bit numbers the first of a block.
INLINE const u16 *packed_at(i32 format, const u16 *values, i32 first) {
  return values + (format == FORMAT_Q8 ? first / Q8_NUMBERS * Q8_WORDS : first);
}

// The 16 numbers of half a block, without their scale.
INLINE void widen_q8(const u16 *bytes, v4 out[4]) {
  v4 b = wasm_v128_load(bytes), low = wasm_i16x8_extend_low_i8x16(b), high = wasm_i16x8_extend_high_i8x16(b);
  out[0] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(low));
  out[1] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(low));
  out[2] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(high));
  out[3] = wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(high));
}

INLINE v4 scale_q8(const u16 *block) { return wasm_v128_load32_splat(block); }

// bfloat16 is the upper half of a float32.
INLINE v4 widen_bf16_low(v4 bits) { return wasm_i16x8_shuffle(wasm_i32x4_splat(0), bits, 0, 8, 1, 9, 2, 10, 3, 11); }
INLINE v4 widen_bf16_high(v4 bits) { return wasm_i16x8_shuffle(wasm_i32x4_splat(0), bits, 4, 12, 5, 13, 6, 14, 7, 15); }

// float16 in the lower half of each lane: the fields are moved to float32's places and a product by 2^112
// moves the exponent's bias, subnormal numbers included; infinity and NaN get their exponent by hand.
INLINE v4 widen_f16(v4 h) {
  v4 fields = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_splat(0x7fff)), 13);
  v4 sign = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_splat(0x8000)), 16);
  v4 special = wasm_v128_and(wasm_i32x4_ge(fields, wasm_i32x4_splat(0x0f800000)), wasm_i32x4_splat(0x7f800000));
  v4 moved = mul(fields, wasm_i32x4_splat(0x77800000));
  return wasm_v128_or(wasm_v128_or(moved, special), sign);
}
INLINE v4 widen_f16_low(v4 bits) { return widen_f16(wasm_u32x4_extend_low_u16x8(bits)); }
INLINE v4 widen_f16_high(v4 bits) { return widen_f16(wasm_u32x4_extend_high_u16x8(bits)); }

// Through memory, since a float in between might change a NaN.
INLINE void unpack1(i32 format, u16 bits, float *out) {
  v4 h = wasm_i32x4_splat(bits);
  wasm_v128_store32_lane(out, format == FORMAT_BF16 ? wasm_i32x4_shl(h, 16) : widen_f16(h), 0);
}

// out[i] = bits[i], widened. 8-bit numbers: whole blocks.
void unpack(i32 format, i32 count, const u16 *bits, float *out);
