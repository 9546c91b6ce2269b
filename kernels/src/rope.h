// Rotary embedding of one head, halves paired: y[i] = x1 cos - s x2 sin, y[i + D/2] = x2 cos + s x1 sin, with
// x1, x2 the two halves and s = sign (1 rotates, -1 rotates back). cos and sin are [D/2]; y may be x.
#pragma once
#include "simd.h"

INLINE void rotate(i32 D, const float *x, const float *cos, const float *sin, float sign, float *y) {
  i32 half = D / 2, i = 0;
  v4 vs = splat(sign);
  for (; i + 4 <= half; i += 4) {
    v4 a = load4(x + i), b = load4(x + half + i), c = load4(cos + i), s = mul(load4(sin + i), vs);
    store4(y + i, sub(mul(a, c), mul(b, s)));
    store4(y + half + i, add(mul(b, c), mul(a, s)));
  }
  for (; i < half; i++) {
    float a = x[i], b = x[half + i], c = cos[i], s = sin[i] * sign;
    y[i] = a * c - b * s;
    y[half + i] = b * c + a * s;
  }
}
