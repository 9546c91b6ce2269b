// AdamW in place, and the sums that clipping needs.
#include "simd.h"

// w = w * (1 - lr * decay) - rate * m / (sqrt(v) / root + eps), after m += (1 - beta1)(g - m) and
// v = beta2 v + (1 - beta2) g^2, with g = gradient * scale, rate = lr / (1 - beta1^t),
// root = sqrt(1 - beta2^t). fresh1 and fresh2 are 1 - beta1 and 1 - beta2, which floats would make of the betas with
// an error in the fifth digit. All arrays [n], w, m and v in place.
EXPORT(nano_adamw)
void nano_adamw(i32 n, float *w, const float *gradient, float *m, float *v, float keep, float rate,
                float beta1, float beta2, float fresh1, float fresh2, float inverse_root, float eps, float scale) {
  v4 b1 = splat(beta1), b2 = splat(beta2), c1 = splat(fresh1), c2 = splat(fresh2);
  v4 vk = splat(keep), vr = splat(rate), vi = splat(inverse_root), ve = splat(eps), vs = splat(scale);
  for (i32 i = 0; i < n; i += 4) {
    i32 c = n - i;
    v4 g = mul(c < 4 ? load_part(gradient + i, c) : load4(gradient + i), vs);
    v4 first = c < 4 ? load_part(m + i, c) : load4(m + i);
    v4 second = c < 4 ? load_part(v + i, c) : load4(v + i);
    v4 weight = c < 4 ? load_part(w + i, c) : load4(w + i);
    first = add(mul(first, b1), mul(g, c1));
    second = add(mul(second, b2), mul(mul(g, g), c2));
    v4 denominator = add(mul(wasm_f32x4_sqrt(second), vi), ve);
    weight = sub(mul(weight, vk), div4(mul(first, vr), denominator));
    if (c < 4) store_part(m + i, first, c), store_part(v + i, second, c), store_part(w + i, weight, c);
    else store4(m + i, first), store4(v + i, second), store4(w + i, weight);
  }
}

// Sum of x^2, in double precision.
EXPORT(nano_sum_squares)
double nano_sum_squares(i32 n, const float *x) {
  v4 s = wasm_f64x2_splat(0.0), t = s;
  i32 i = 0;
  for (; i + 4 <= n; i += 4) {
    v4 v = load4(x + i);
    v4 low = wasm_f64x2_promote_low_f32x4(v);
    v4 high = wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    s = wasm_f64x2_add(s, wasm_f64x2_mul(low, low)), t = wasm_f64x2_add(t, wasm_f64x2_mul(high, high));
  }
  s = wasm_f64x2_add(s, t);
  double total = wasm_f64x2_extract_lane(s, 0) + wasm_f64x2_extract_lane(s, 1);
  for (; i < n; i++) total += (double)x[i] * (double)x[i];
  return total;
}
