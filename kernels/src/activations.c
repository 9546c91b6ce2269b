// tanh-GELU and SwiGLU, forward and backward, dropout, and sums in place. Outputs are written (=) unless
// a comment says +=. The last one to three values of an array go through the same vector code, so that
// every value is computed alike.
#include "simd.h"

#define TWO_SQRT_2_OVER_PI 1.5957691216057308f
#define CUBIC 0.044715f

// e^-2u with u = sqrt(2/pi) (x + 0.044715 x^3): the sigmoid of 2u is (1 + tanh u) / 2, for one exponential.
INLINE v4 gelu_exp4(v4 x, v4 square) {
  return exp4(mul(mul(x, splat(-TWO_SQRT_2_OVER_PI)), madd(square, splat(CUBIC), splat(1.0f))));
}

// x * sigmoid(2u)
INLINE v4 gelu4(v4 x) { return mul(x, sigmoid_of_exp4(gelu_exp4(x, mul(x, x)))); }

// s + x s (1 - s) (2u)'
INLINE v4 gelu_slope4(v4 x) {
  v4 square = mul(x, x), e = gelu_exp4(x, square), s = sigmoid_of_exp4(e);
  v4 inner_slope = mul(splat(TWO_SQRT_2_OVER_PI), madd(square, splat(3.0f * CUBIC), splat(1.0f)));
  return madd(mul(mul(x, s), mul(e, s)), inner_slope, s);
}

EXPORT(nano_gelu)
void nano_gelu(i32 n, const float *x, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(y + i, gelu4(load4(x + i)));
  if (i < n) store_part(y + i, gelu4(load_part(x + i, n - i)), n - i);
}

EXPORT(nano_gelu_dx)
void nano_gelu_dx(i32 n, const float *x, const float *dy, float *dx) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(dx + i, mul(load4(dy + i), gelu_slope4(load4(x + i))));
  if (i < n) store_part(dx + i, mul(load_part(dy + i, n - i), gelu_slope4(load_part(x + i, n - i))), n - i);
}

// y = gate * sigmoid(gate) * up
EXPORT(nano_swiglu)
void nano_swiglu(i32 n, const float *gate, const float *up, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) {
    v4 g = load4(gate + i);
    store4(y + i, mul(mul(g, sigmoid4(g)), load4(up + i)));
  }
  if (i < n) {
    v4 g = load_part(gate + i, n - i);
    store_part(y + i, mul(mul(g, sigmoid4(g)), load_part(up + i, n - i)), n - i);
  }
}

// dgate = dy * up * s * (1 + gate * (1 - s)) and dup = dy * gate * s, with s = sigmoid(gate)
EXPORT(nano_swiglu_backward)
void nano_swiglu_backward(i32 n, const float *gate, const float *up, const float *dy, float *dgate, float *dup) {
  for (i32 i = 0; i < n; i += 4) {
    i32 c = n - i;
    v4 g = c < 4 ? load_part(gate + i, c) : load4(gate + i), u = c < 4 ? load_part(up + i, c) : load4(up + i);
    v4 d = c < 4 ? load_part(dy + i, c) : load4(dy + i), s = sigmoid4(g);
    v4 ofGate = mul(mul(mul(d, u), s), madd(g, sub(splat(1.0f), s), splat(1.0f))), ofUp = mul(mul(g, s), d);
    if (c < 4) store_part(dgate + i, ofGate, c), store_part(dup + i, ofUp, c);
    else store4(dgate + i, ofGate), store4(dup + i, ofUp);
  }
}

// The word that PCG's RXS-M-XS gives for a counter (O'Neill, 2014).
INLINE u32 mix(u32 word) {
  u32 state = word * 747796405u + 2891336453u;
  u32 product = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
  return (product >> 22) ^ product;
}

// y[i] = x[i] * keep if the random word of i is at least threshold, else 0.
EXPORT(nano_dropout)
void nano_dropout(i32 n, const float *x, u32 key, u32 threshold, float keep, float *y) {
  for (i32 i = 0; i < n; i++) y[i] = mix((u32)i ^ key) < threshold ? 0.0f : x[i] * keep;
}

// y += x
EXPORT(nano_add_to)
void nano_add_to(i32 n, const float *x, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(y + i, add(load4(y + i), load4(x + i)));
  for (; i < n; i++) y[i] += x[i];
}
