// RMSNorm and LayerNorm over rows of C channels, forward and backward. Outputs are written (=) unless a comment says otherwise.
#include "simd.h"

// y = x * rstd * gamma, rstd = 1 / sqrt(mean(x^2) + eps); rstd [rows] is kept for the backward pass.
EXPORT(nano_rms_norm)
void nano_rms_norm(i32 rows, i32 C, const float *x, const float *gamma, float eps, float *y, float *rstd) {
  for (i32 r = 0; r < rows; r++, x += C, y += C) {
    v4 s = splat(0.0f);
    i32 j = 0;
    for (; j + 4 <= C; j += 4) { v4 v = load4(x + j); s = madd(v, v, s); }
    float total = sum4(s);
    for (; j < C; j++) total += x[j] * x[j];
    float inverse = 1.0f / sqrt1(total / (float)C + eps);
    rstd[r] = inverse;
    v4 scale = splat(inverse);
    for (j = 0; j + 4 <= C; j += 4) store4(y + j, mul(mul(load4(x + j), scale), load4(gamma + j)));
    for (; j < C; j++) y[j] = x[j] * inverse * gamma[j];
  }
}

// dx (=, or += if `adds`) rstd * (dy * gamma - x * rstd^2 * mean(dy * gamma * x))
EXPORT(nano_rms_norm_dx)
void nano_rms_norm_dx(i32 rows, i32 C, const float *x, const float *gamma, const float *rstd,
                      const float *dy, i32 adds, float *dx) {
  for (i32 r = 0; r < rows; r++, x += C, dy += C, dx += C) {
    v4 s = splat(0.0f);
    i32 j = 0;
    for (; j + 4 <= C; j += 4) s = madd(mul(load4(dy + j), load4(gamma + j)), load4(x + j), s);
    float dot = sum4(s);
    for (; j < C; j++) dot += dy[j] * gamma[j] * x[j];
    float a = rstd[r], b = -a * a * a * dot / (float)C;
    v4 va = splat(a), vb = splat(b), zero = splat(0.0f);
    for (j = 0; j + 4 <= C; j += 4) {
      v4 d = madd(load4(x + j), vb, mul(mul(load4(dy + j), load4(gamma + j)), va));
      store4(dx + j, add(adds ? load4(dx + j) : zero, d));
    }
    for (; j < C; j++) dx[j] = (adds ? dx[j] : 0.0f) + (dy[j] * gamma[j] * a + x[j] * b);
  }
}

// dgamma = sum over rows of dy * x * rstd
EXPORT(nano_rms_norm_dgamma)
void nano_rms_norm_dgamma(i32 rows, i32 C, const float *x, const float *rstd, const float *dy, float *dgamma) {
  fill(dgamma, C, 0.0f);
  for (i32 r = 0; r < rows; r++, x += C, dy += C) {
    v4 scale = splat(rstd[r]);
    i32 j = 0;
    for (; j + 4 <= C; j += 4) {
      store4(dgamma + j, madd(mul(load4(x + j), scale), load4(dy + j), load4(dgamma + j)));
    }
    for (; j < C; j++) dgamma[j] += x[j] * rstd[r] * dy[j];
  }
}

// y = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(biased variance + eps); mean and rstd [rows]
// are kept for the backward pass.
EXPORT(nano_layer_norm)
void nano_layer_norm(i32 rows, i32 C, const float *x, const float *gamma, const float *beta, float eps,
                     float *y, float *mean, float *rstd) {
  for (i32 r = 0; r < rows; r++, x += C, y += C) {
    v4 s = splat(0.0f);
    i32 j = 0;
    for (; j + 4 <= C; j += 4) s = add(s, load4(x + j));
    float total = sum4(s);
    for (; j < C; j++) total += x[j];
    float centre = total / (float)C;
    v4 c = splat(centre);
    s = splat(0.0f);
    for (j = 0; j + 4 <= C; j += 4) { v4 d = sub(load4(x + j), c); s = madd(d, d, s); }
    total = sum4(s);
    for (; j < C; j++) total += (x[j] - centre) * (x[j] - centre);
    float inverse = 1.0f / sqrt1(total / (float)C + eps);
    mean[r] = centre, rstd[r] = inverse;
    v4 scale = splat(inverse);
    for (j = 0; j + 4 <= C; j += 4) {
      store4(y + j, madd(mul(sub(load4(x + j), c), scale), load4(gamma + j), load4(beta + j)));
    }
    for (; j < C; j++) y[j] = (x[j] - centre) * inverse * gamma[j] + beta[j];
  }
}

// With h = (x - mean) * rstd and g = dy * gamma: dx (=, or += if `adds`) rstd * (g - mean(g) - h * mean(g * h))
EXPORT(nano_layer_norm_dx)
void nano_layer_norm_dx(i32 rows, i32 C, const float *x, const float *gamma, const float *mean,
                        const float *rstd, const float *dy, i32 adds, float *dx) {
  for (i32 r = 0; r < rows; r++, x += C, dy += C, dx += C) {
    v4 c = splat(mean[r]), scale = splat(rstd[r]), s = splat(0.0f), t = splat(0.0f);
    i32 j = 0;
    for (; j + 4 <= C; j += 4) {
      v4 g = mul(load4(dy + j), load4(gamma + j));
      s = add(s, g), t = madd(g, mul(sub(load4(x + j), c), scale), t);
    }
    float sum = sum4(s), dot = sum4(t);
    for (; j < C; j++) {
      float g = dy[j] * gamma[j];
      sum += g, dot += g * (x[j] - mean[r]) * rstd[r];
    }
    sum /= (float)C, dot /= (float)C;
    v4 vs = splat(sum), vd = splat(dot), zero = splat(0.0f);
    for (j = 0; j + 4 <= C; j += 4) {
      v4 g = mul(load4(dy + j), load4(gamma + j)), h = mul(sub(load4(x + j), c), scale);
      v4 d = mul(scale, sub(sub(g, vs), mul(h, vd)));
      store4(dx + j, add(adds ? load4(dx + j) : zero, d));
    }
    for (; j < C; j++) {
      float h = (x[j] - mean[r]) * rstd[r];
      dx[j] = (adds ? dx[j] : 0.0f) + rstd[r] * (dy[j] * gamma[j] - sum - h * dot);
    }
  }
}

// dgamma = sum over rows of dy * h
EXPORT(nano_layer_norm_dgamma)
void nano_layer_norm_dgamma(i32 rows, i32 C, const float *x, const float *mean, const float *rstd,
                            const float *dy, float *dgamma) {
  fill(dgamma, C, 0.0f);
  for (i32 r = 0; r < rows; r++, x += C, dy += C) {
    v4 c = splat(mean[r]), scale = splat(rstd[r]);
    i32 j = 0;
    for (; j + 4 <= C; j += 4) {
      v4 h = mul(sub(load4(x + j), c), scale);
      store4(dgamma + j, madd(h, load4(dy + j), load4(dgamma + j)));
    }
    for (; j < C; j++) dgamma[j] += (x[j] - mean[r]) * rstd[r] * dy[j];
  }
}

// out[c] = sum over rows of x[r, c]: the gradient of a bias.
EXPORT(nano_column_sum)
void nano_column_sum(i32 rows, i32 C, const float *x, float *out) {
  fill(out, C, 0.0f);
  for (i32 r = 0; r < rows; r++, x += C) {
    i32 j = 0;
    for (; j + 4 <= C; j += 4) store4(out + j, add(load4(out + j), load4(x + j)));
    for (; j < C; j++) out[j] += x[j];
  }
}
