// What every kernel shares: vectors of four floats, a fused (or plain) multiply-add, exp and sigmoid.
//
// Rules for this folder, because the module runs inside another program's heap:
// no globals, no string or table constants, no libc. Every address comes in as an argument.
#pragma once
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name), visibility("default")))
#define INLINE static inline __attribute__((always_inline))

typedef v128_t v4;
typedef int32_t i32;
typedef uint32_t u32;

INLINE v4 load4(const float *p) { return wasm_v128_load(p); }
INLINE void store4(float *p, v4 v) { wasm_v128_store(p, v); }
INLINE v4 splat(float x) { return wasm_f32x4_splat(x); }
INLINE v4 load_splat(const float *p) { return wasm_v128_load32_splat(p); }
INLINE v4 add(v4 a, v4 b) { return wasm_f32x4_add(a, b); }
INLINE v4 sub(v4 a, v4 b) { return wasm_f32x4_sub(a, b); }
INLINE v4 mul(v4 a, v4 b) { return wasm_f32x4_mul(a, b); }
INLINE v4 div4(v4 a, v4 b) { return wasm_f32x4_div(a, b); }
INLINE v4 vmax(v4 a, v4 b) { return wasm_f32x4_pmax(a, b); }
INLINE v4 vmin(v4 a, v4 b) { return wasm_f32x4_pmin(a, b); }

// a * b + c
#ifdef __wasm_relaxed_simd__
INLINE v4 madd(v4 a, v4 b, v4 c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
INLINE v4 madd(v4 a, v4 b, v4 c) { return add(mul(a, b), c); }
#endif

INLINE float sum4(v4 v) {
  v4 swapped = wasm_i32x4_shuffle(v, v, 2, 3, 0, 1);
  v4 pair = add(v, swapped);
  return wasm_f32x4_extract_lane(pair, 0) + wasm_f32x4_extract_lane(pair, 1);
}

INLINE float max4(v4 v) {
  v4 pair = vmax(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  float a = wasm_f32x4_extract_lane(pair, 0), b = wasm_f32x4_extract_lane(pair, 1);
  return a > b ? a : b;
}

// Loads 1 to 3 floats, zeros in the other lanes.
INLINE v4 load_part(const float *p, i32 count) {
  v4 v = wasm_v128_load32_zero(p);
  if (count > 1) v = wasm_v128_load32_lane(p + 1, v, 1);
  if (count > 2) v = wasm_v128_load32_lane(p + 2, v, 2);
  return v;
}

// Stores the first 1 to 3 lanes.
INLINE void store_part(float *p, v4 v, i32 count) {
  wasm_v128_store32_lane(p, v, 0);
  if (count > 1) wasm_v128_store32_lane(p + 1, v, 1);
  if (count > 2) wasm_v128_store32_lane(p + 2, v, 2);
}

// 1.5 * 2^23: a sum with it is rounded to a whole number, which its lowest bits then hold.
#define ROUNDER 12582912.0f

// e^x to about 1e-7 relative: 2^n times a polynomial in the remainder (Cephes expf). Below -87 it is
// 0, above 88 it stays at e^88, so that nothing overflows to infinity inside a fused loop.
INLINE v4 exp4(v4 x) {
  v4 low = splat(-87.0f);
  v4 tiny = wasm_f32x4_lt(x, low);
  x = vmin(vmax(x, low), splat(88.0f));
  v4 whole = madd(x, splat(1.44269504088896341f), splat(ROUNDER));
  v4 n = sub(whole, splat(ROUNDER));
  v4 r = madd(n, splat(-0.693359375f), x);
  r = madd(n, splat(2.12194440e-4f), r);
  v4 p = splat(1.9875691500e-4f);
  p = madd(p, r, splat(1.3981999507e-3f));
  p = madd(p, r, splat(8.3334519073e-3f));
  p = madd(p, r, splat(4.1665795894e-2f));
  p = madd(p, r, splat(1.6666665459e-1f));
  p = madd(p, r, splat(5.0000001201e-1f));
  p = add(madd(mul(r, r), p, r), splat(1.0f));
  // 2^n: the exponent's bits from the lowest ones, which the shift leaves alone.
  v4 power = wasm_i32x4_add(wasm_i32x4_shl(whole, 23), wasm_i32x4_splat(127 << 23));
  return wasm_v128_andnot(mul(p, power), tiny);
}

INLINE float exp1(float x) { return wasm_f32x4_extract_lane(exp4(splat(x)), 0); }

// 1 / (1 + e), which is the sigmoid of x if e is e^-x; one minus the sigmoid is e times that.
INLINE v4 sigmoid_of_exp4(v4 e) { return div4(splat(1.0f), add(splat(1.0f), e)); }

INLINE v4 sigmoid4(v4 x) { return sigmoid_of_exp4(exp4(wasm_f32x4_neg(x))); }

// ln x for x > 0 (Cephes logf). Infinity and NaN stay what they are, so that a bad number is seen to be one.
INLINE float log1(float x) {
  if (!(x < __builtin_inff())) return x;
  union { float f; u32 u; } bits = {x};
  i32 e = (i32)(bits.u >> 23) - 126;
  bits.u = (bits.u & 0x007fffffu) | 0x3f000000u;
  float m = bits.f;
  if (m < 0.707106781186547524f) { e -= 1; m = m + m - 1.0f; } else { m = m - 1.0f; }
  float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  float y = p * m * z + (float)e * -2.12194440e-4f - 0.5f * z;
  return m + y + (float)e * 0.693359375f;
}

INLINE float sqrt1(float x) { return __builtin_sqrtf(x); }

// Written with vectors: the compiler would turn plain loops into memset and memcpy, which need libc.
INLINE void fill(float *p, i32 count, float value) {
  v4 v = splat(value);
  i32 i = 0;
  for (; i + 4 <= count; i += 4) store4(p + i, v);
  for (; i < count; i++) p[i] = value;
}

INLINE void copy(i32 n, const float *x, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(y + i, load4(x + i));
  for (; i < n; i++) y[i] = x[i];
}
