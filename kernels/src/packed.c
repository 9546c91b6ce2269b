// Weights in 16 bits (float16 or bfloat16) or in 8 bits with scales, widened on the way: whole blocks for the products, single rows for
// the embedding, and in registers if there are so few rows that reading the weight dominates.
#include "packed.h"

static void unpack_q8(i32 count, const u16 *block, float *out) {
  for (i32 i = 0; i < count; i += Q8_NUMBERS, block += Q8_WORDS) {
    v4 scale = scale_q8(block), q[8];
    widen_q8(block + 2, q), widen_q8(block + 10, q + 4);
    _Pragma("clang loop unroll(full)") for (i32 v = 0; v < 8; v++) store4(out + i + 4 * v, mul(scale, q[v]));
  }
}

void unpack(i32 format, i32 count, const u16 *bits, float *out) {
  i32 i = 0;
  if (format == FORMAT_Q8) {
    unpack_q8(count, bits, out);
    return;
  }
  if (format == FORMAT_BF16) {
    for (; i + 8 <= count; i += 8) {
      v4 b = wasm_v128_load(bits + i);
      store4(out + i, widen_bf16_low(b)), store4(out + i + 4, widen_bf16_high(b));
    }
  } else {
    for (; i + 8 <= count; i += 8) {
      v4 b = wasm_v128_load(bits + i);
      store4(out + i, widen_f16_low(b)), store4(out + i + 4, widen_f16_high(b));
    }
  }
  for (; i < count; i++) unpack1(format, bits[i], out + i);
}

// out[i] = values[first + i], widened. Written.
EXPORT(nano_unpack)
void nano_unpack(i32 format, i32 first, i32 count, const u16 *values, float *out) {
  unpack(format, count, packed_at(format, values, first), out);
}

// out[i] = table[ids[i]], rows of C, widened. Written.
EXPORT(nano_gather_packed_rows)
void nano_gather_packed_rows(i32 format, i32 n, i32 C, const u16 *table, const i32 *ids, float *out) {
  for (i32 i = 0; i < n; i++) unpack(format, C, packed_at(format, table, ids[i] * C), out + i * C);
}

// R rows of x against two rows of W at once, widened in registers: R * 2 sums.
#define DOT_ROWS(NAME, R, LOW, HIGH)                                                                    \
  static void NAME(i32 format, i32 n, i32 k, const float *x, const u16 *w, float *y, i32 ldy) {         \
    i32 j = 0;                                                                                          \
    for (; j + 2 <= n; j += 2) {                                                                        \
      const u16 *w0 = w + j * k, *w1 = w0 + k;                                                          \
      v4 s0[R], s1[R];                                                                                  \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) s0[r] = s1[r] = splat(0.0f);       \
      i32 p = 0;                                                                                        \
      for (; p + 8 <= k; p += 8) {                                                                      \
        v4 b0 = wasm_v128_load(w0 + p), b1 = wasm_v128_load(w1 + p);                                    \
        v4 y0 = LOW(b0), y1 = LOW(b1), z0 = HIGH(b0), z1 = HIGH(b1);                                    \
        _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) {                                \
          v4 a = load4(x + r * k + p), b = load4(x + r * k + p + 4);                                    \
          s0[r] = madd(b, z0, madd(a, y0, s0[r])), s1[r] = madd(b, z1, madd(a, y1, s1[r]));             \
        }                                                                                               \
      }                                                                                                 \
      float t0[R], t1[R];                                                                               \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) t0[r] = sum4(s0[r]), t1[r] = sum4(s1[r]); \
      for (; p < k; p++) {                                                                              \
        float v[2];                                                                                     \
        unpack1(format, w0[p], v), unpack1(format, w1[p], v + 1);                                       \
        _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) t0[r] += x[r * k + p] * v[0], t1[r] += x[r * k + p] * v[1]; \
      }                                                                                                 \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) y[r * ldy + j] = t0[r], y[r * ldy + j + 1] = t1[r]; \
    }                                                                                                   \
    for (; j < n; j++) {                                                                                \
      const u16 *w0 = w + j * k;                                                                        \
      for (i32 r = 0; r < R; r++) {                                                                     \
        v4 s = splat(0.0f);                                                                             \
        i32 p = 0;                                                                                      \
        for (; p + 8 <= k; p += 8) {                                                                    \
          v4 b = wasm_v128_load(w0 + p);                                                                \
          s = madd(load4(x + r * k + p + 4), HIGH(b), madd(load4(x + r * k + p), LOW(b), s));           \
        }                                                                                               \
        float t = sum4(s), v;                                                                           \
        for (; p < k; p++) unpack1(format, w0[p], &v), t += x[r * k + p] * v;                           \
        y[r * ldy + j] = t;                                                                             \
      }                                                                                                 \
    }                                                                                                   \
  }
DOT_ROWS(bf16_rows_1, 1, widen_bf16_low, widen_bf16_high)
DOT_ROWS(bf16_rows_2, 2, widen_bf16_low, widen_bf16_high)
DOT_ROWS(bf16_rows_4, 4, widen_bf16_low, widen_bf16_high)
DOT_ROWS(f16_rows_1, 1, widen_f16_low, widen_f16_high)
DOT_ROWS(f16_rows_2, 2, widen_f16_low, widen_f16_high)
DOT_ROWS(f16_rows_4, 4, widen_f16_low, widen_f16_high)

// R rows of x against each row of W in 8 bits, whole blocks: the products of a block are summed before its scale.
#define DOT_ROWS_Q8(NAME, R)                                                                            \
  static void NAME(i32 n, i32 k, const float *x, const u16 *w, float *y, i32 ldy) {                     \
    for (i32 j = 0; j < n; j++) {                                                                       \
      v4 s[R];                                                                                          \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) s[r] = splat(0.0f);                \
      for (i32 p = 0; p < k; p += Q8_NUMBERS, w += Q8_WORDS) {                                          \
        v4 scale = scale_q8(w), q[8];                                                                   \
        widen_q8(w + 2, q), widen_q8(w + 10, q + 4);                                                    \
        _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) {                                \
          const float *a = x + r * k + p;                                                               \
          v4 t = mul(load4(a), q[0]);                                                                   \
          _Pragma("clang loop unroll(full)") for (i32 v = 1; v < 8; v++) t = madd(load4(a + 4 * v), q[v], t); \
          s[r] = madd(t, scale, s[r]);                                                                  \
        }                                                                                               \
      }                                                                                                 \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) y[r * ldy + j] = sum4(s[r]);       \
    }                                                                                                   \
  }
DOT_ROWS_Q8(q8_rows_1, 1)
DOT_ROWS_Q8(q8_rows_2, 2)
DOT_ROWS_Q8(q8_rows_4, 4)

// y [m, n] = x [m, k] W^T with W [n, k] packed; a row of y begins ldy floats behind the one before. Written. For
// a handful of rows.
EXPORT(nano_packed_rows)
void nano_packed_rows(i32 format, i32 m, i32 n, i32 k, const float *x, const u16 *w, float *y, i32 ldy) {
  // Rows of W in blocks that stay in the cache while the rows of x pass over them.
  i32 block = 16384 / (k > 0 ? k : 1) & ~1;
  if (block < 2) block = 2;
  for (i32 j0 = 0; j0 < n; j0 += block) {
    i32 columns = n - j0 < block ? n - j0 : block, i = 0;
    const u16 *w0 = packed_at(format, w, j0 * k);
    if (format == FORMAT_Q8) {
      for (; i + 4 <= m; i += 4) q8_rows_4(columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
      for (; i + 2 <= m; i += 2) q8_rows_2(columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
      for (; i < m; i++) q8_rows_1(columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
    } else if (format == FORMAT_BF16) {
      for (; i + 4 <= m; i += 4) bf16_rows_4(format, columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
      for (; i + 2 <= m; i += 2) bf16_rows_2(format, columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
      for (; i < m; i++) bf16_rows_1(format, columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
    } else {
      for (; i + 4 <= m; i += 4) f16_rows_4(format, columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
      for (; i + 2 <= m; i += 2) f16_rows_2(format, columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
      for (; i < m; i++) f16_rows_1(format, columns, k, x + i * k, w0, y + i * ldy + j0, ldy);
    }
  }
}
