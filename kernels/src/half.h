// Rounding of floats to the values of a 16-bit format, kept as floats: to nearest, ties to even.
#pragma once
#include "packed.h"

INLINE v4 words(u32 word) { return wasm_u32x4_splat(word); }

// bfloat16: the upper half of a float. A carry out of the largest value makes infinity; every NaN becomes
// 0x7fc00000, whose payload no rounding can turn into infinity.
INLINE v4 round_bf16(v4 x) {
  v4 odd = wasm_v128_and(wasm_u32x4_shr(x, 16), words(1));
  v4 up = wasm_i32x4_add(wasm_i32x4_add(x, words(0x7fff)), odd);
  return wasm_v128_bitselect(words(0x7fc00000), wasm_v128_and(up, words(0xffff0000)), wasm_f32x4_ne(x, x));
}

// float16: 10 bits of fraction down to 2^-14, multiples of 2^-24 below; from 65520 on infinity.
INLINE v4 round_f16(v4 x) {
  v4 size = wasm_v128_and(x, words(0x7fffffff)), sign = wasm_v128_andnot(x, words(0x7fffffff));
  v4 odd = wasm_v128_and(wasm_u32x4_shr(size, 13), words(1));
  v4 normal = wasm_v128_and(wasm_i32x4_add(wasm_i32x4_add(size, words(0xfff)), odd), words(0xffffe000));
  normal = wasm_v128_bitselect(words(0x7f800000), normal, wasm_i32x4_ge(normal, words(0x47800000)));
  // Floats in 0.5 ... 1 are multiples of 2^-24, so that the sum rounds to those.
  v4 small = sub(add(size, splat(0.5f)), splat(0.5f));
  v4 rounded = wasm_v128_bitselect(small, normal, wasm_i32x4_lt(size, words(0x38800000)));
  return wasm_v128_bitselect(words(0x7fc00000), wasm_v128_or(rounded, sign), wasm_f32x4_ne(x, x));
}

INLINE v4 round_half(v4 x, i32 format) { return format == FORMAT_BF16 ? round_bf16(x) : round_f16(x); }

// Rounds an array, y = x or elsewhere.
INLINE void round_row(const float *x, float *y, i32 n, i32 format) {
  i32 i = 0;
  if (format == FORMAT_BF16) {
    for (; i + 4 <= n; i += 4) store4(y + i, round_bf16(load4(x + i)));
  } else {
    for (; i + 4 <= n; i += 4) store4(y + i, round_f16(load4(x + i)));
  }
  if (i < n) store_part(y + i, round_half(load_part(x + i, n - i), format), n - i);
}
