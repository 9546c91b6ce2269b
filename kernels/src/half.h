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

// float16: 10 bits of fraction down to 2^-14, multiples of 2^-24 below; from 65520 on infinity. Added to
// 2^(e + 13), which has no bits below 2^(e - 10), x of exponent e loses its own; infinity begins at
// 65520, and a NaN stays a NaN, in a sum too.
INLINE v4 round_f16(v4 x) {
  v4 size = wasm_f32x4_abs(x);
  v4 exponent = wasm_u32x4_max(wasm_v128_and(size, words(0x7f800000)), words(0x38800000));
  v4 large = wasm_i32x4_add(exponent, words(13u << 23));
  v4 rounded = sub(add(size, large), large);
  rounded = wasm_v128_bitselect(words(0x7f800000), rounded, wasm_f32x4_ge(size, splat(65520.0f)));
  rounded = wasm_v128_bitselect(x, rounded, wasm_f32x4_ne(x, x));
  return wasm_v128_bitselect(rounded, x, words(0x7fffffff));
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

// The 16 bits of values that the format has, in the lower half of each lane.
INLINE v4 narrow_bf16(v4 x) { return wasm_u32x4_shr(x, 16); }

// Below 2^-14 all are multiples of 2^-24, as the floats from 0.5 to 1 are: a sum with 0.5 has their count in
// its last bits. From there on the exponent's bias and the fraction move; a NaN becomes the quiet one.
INLINE v4 narrow_f16(v4 x) {
  v4 size = wasm_f32x4_abs(x);
  v4 small = wasm_i32x4_sub(add(size, splat(0.5f)), words(0x3f000000));
  v4 large = wasm_u32x4_shr(wasm_i32x4_sub(size, words(112u << 23)), 13);
  v4 bits = wasm_v128_bitselect(small, large, wasm_f32x4_lt(size, splat(0x1p-14f)));
  bits = wasm_v128_bitselect(words(0x7c00), bits, wasm_i32x4_ge(size, words(0x7f800000)));
  bits = wasm_v128_bitselect(words(0x7e00), bits, wasm_f32x4_ne(x, x));
  return wasm_v128_or(bits, wasm_v128_and(wasm_u32x4_shr(x, 16), words(0x8000)));
}

INLINE v4 narrow_half(v4 x, i32 format) {
  return format == FORMAT_BF16 ? narrow_bf16(round_bf16(x)) : narrow_f16(round_f16(x));
}
