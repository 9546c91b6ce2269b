// SwiGLU of 16-bit passes, forward and backward. Outputs are written (=).
#include "half.h"

INLINE v4 silu_slope4(v4 g) {
  v4 s = sigmoid4(g);
  return mul(s, madd(g, sub(splat(1.0f), s), splat(1.0f)));
}

// SwiGLU of a 16-bit pass: silu(gate) is rounded, then the product; gradients are rounded where those values are.
EXPORT(nano_swiglu_half)
void nano_swiglu_half(i32 n, i32 format, const float *gate, const float *up, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) {
    v4 g = load4(gate + i), h = round_half(mul(g, sigmoid4(g)), format);
    store4(y + i, round_half(mul(h, load4(up + i)), format));
  }
  if (i < n) {
    i32 c = n - i;
    v4 g = load_part(gate + i, c), h = round_half(mul(g, sigmoid4(g)), format);
    store_part(y + i, round_half(mul(h, load_part(up + i, c)), format), c);
  }
}

// dy is rounded already. dup = dy * round(silu(gate)), rounded, is nano_swiglu_half(n, format, gate, dy, dup).
EXPORT(nano_swiglu_half_dgate)
void nano_swiglu_half_dgate(i32 n, i32 format, const float *gate, const float *up, const float *dy, float *dgate) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) {
    v4 dh = round_half(mul(load4(dy + i), load4(up + i)), format);
    store4(dgate + i, round_half(mul(dh, silu_slope4(load4(gate + i))), format));
  }
  if (i < n) {
    i32 c = n - i;
    v4 dh = round_half(mul(load_part(dy + i, c), load_part(up + i, c)), format);
    store_part(dgate + i, round_half(mul(dh, silu_slope4(load_part(gate + i, c))), format), c);
  }
}
