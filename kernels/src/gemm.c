// Matrix products on one thread: tiles of 4 x 8 held in registers, panels of A and B copied so that the
// inner loop reads memory in order, blocks sized for the caches (Goto and van de Geijn, 2008). Eight
// accumulators and one load of A spread by shuffles: with ten or more V8 spills to the stack, and a
// splat per load is slower, both by half. Few rows skip the copies, since then every element of B is
// used so seldom that reading it is all the cost.
#include "gemm.h"

#define MR 4
#define NR 8

// Rows i0..i0+rows of op(A), columns p0..p0+depth, as panels of MR rows: panel[p * MR + r].
static void copy_panel_a(const float *a, i32 a_row, i32 a_col, i32 rows, i32 depth, float *out) {
  for (i32 i = 0; i < rows; i += MR) {
    i32 height = rows - i < MR ? rows - i : MR;
    const float *panel = a + i * a_row;
    if (height == MR && a_col == 1) {
      const float *r0 = panel, *r1 = r0 + a_row, *r2 = r1 + a_row, *r3 = r2 + a_row;
      i32 p = 0;
      for (; p + 4 <= depth; p += 4, out += 4 * MR) {
        v4 x0 = load4(r0 + p), x1 = load4(r1 + p), x2 = load4(r2 + p), x3 = load4(r3 + p);
        v4 lo01 = wasm_i32x4_shuffle(x0, x1, 0, 4, 1, 5), hi01 = wasm_i32x4_shuffle(x0, x1, 2, 6, 3, 7);
        v4 lo23 = wasm_i32x4_shuffle(x2, x3, 0, 4, 1, 5), hi23 = wasm_i32x4_shuffle(x2, x3, 2, 6, 3, 7);
        store4(out, wasm_i64x2_shuffle(lo01, lo23, 0, 2));
        store4(out + 4, wasm_i64x2_shuffle(lo01, lo23, 1, 3));
        store4(out + 8, wasm_i64x2_shuffle(hi01, hi23, 0, 2));
        store4(out + 12, wasm_i64x2_shuffle(hi01, hi23, 1, 3));
      }
      for (; p < depth; p++, out += MR) out[0] = r0[p], out[1] = r1[p], out[2] = r2[p], out[3] = r3[p];
    } else if (height == MR && a_row == 1) {
      for (i32 p = 0; p < depth; p++, out += MR) store4(out, load4(panel + p * a_col));
    } else {
      for (i32 p = 0; p < depth; p++, out += MR) {
        for (i32 r = 0; r < height; r++) out[r] = panel[r * a_row + p * a_col];
        for (i32 r = height; r < MR; r++) out[r] = 0.0f;
      }
    }
  }
}

// depth rows of op(B), columns j0..j0+columns, as panels of NR columns: panel[p * NR + j].
static void copy_panel_b(const float *b, i32 b_row, i32 b_col, i32 depth, i32 columns, float *out) {
  for (i32 j = 0; j < columns; j += NR, out += depth * NR) {
    i32 width = columns - j < NR ? columns - j : NR;
    const float *panel = b + j * b_col;
    if (width == NR && b_col == 1) {
      for (i32 p = 0; p < depth; p++) {
        store4(out + p * NR, load4(panel + p * b_row));
        store4(out + p * NR + 4, load4(panel + p * b_row + 4));
      }
    } else if (width == NR && b_row == 1) {
      for (i32 half = 0; half < NR; half += 4) {
        const float *r0 = panel + half * b_col, *r1 = r0 + b_col, *r2 = r1 + b_col, *r3 = r2 + b_col;
        i32 p = 0;
        for (; p + 4 <= depth; p += 4) {
          v4 x0 = load4(r0 + p), x1 = load4(r1 + p), x2 = load4(r2 + p), x3 = load4(r3 + p);
          v4 lo01 = wasm_i32x4_shuffle(x0, x1, 0, 4, 1, 5), hi01 = wasm_i32x4_shuffle(x0, x1, 2, 6, 3, 7);
          v4 lo23 = wasm_i32x4_shuffle(x2, x3, 0, 4, 1, 5), hi23 = wasm_i32x4_shuffle(x2, x3, 2, 6, 3, 7);
          float *to = out + p * NR + half;
          store4(to, wasm_i64x2_shuffle(lo01, lo23, 0, 2));
          store4(to + NR, wasm_i64x2_shuffle(lo01, lo23, 1, 3));
          store4(to + 2 * NR, wasm_i64x2_shuffle(hi01, hi23, 0, 2));
          store4(to + 3 * NR, wasm_i64x2_shuffle(hi01, hi23, 1, 3));
        }
        for (; p < depth; p++) {
          float *to = out + p * NR + half;
          to[0] = r0[p], to[1] = r1[p], to[2] = r2[p], to[3] = r3[p];
        }
      }
    } else {
      for (i32 p = 0; p < depth; p++) {
        float *to = out + p * NR;
        for (i32 c = 0; c < width; c++) to[c] = panel[p * b_row + c * b_col];
        for (i32 c = width; c < NR; c++) to[c] = 0.0f;
      }
    }
  }
}

#define ROW(r)                                   \
  {                                              \
    v4 x = wasm_i32x4_shuffle(t, t, r, r, r, r); \
    left[r] = madd(x, b0, left[r]);              \
    right[r] = madd(x, b1, right[r]);            \
  }

// One 4 x 8 tile of C from a panel of A and one of B. Unrolling makes V8 spill.
INLINE void tile(i32 depth, const float *a, const float *b, float *c, i32 ldc, i32 accumulate) {
  v4 left[MR], right[MR];
  _Pragma("clang loop unroll(full)") for (i32 r = 0; r < MR; r++) left[r] = right[r] = splat(0.0f);
  _Pragma("clang loop unroll(disable)") for (i32 p = 0; p < depth; p++) {
    v4 b0 = load4(b), b1 = load4(b + 4), t = load4(a);
    ROW(0) ROW(1) ROW(2) ROW(3)
    a += MR, b += NR;
  }
  _Pragma("clang loop unroll(full)") for (i32 r = 0; r < MR; r++) {
    float *to = c + r * ldc;
    if (accumulate) left[r] = add(left[r], load4(to)), right[r] = add(right[r], load4(to + 4));
    store4(to, left[r]), store4(to + 4, right[r]);
  }
}

// A tile that reaches beyond the edge of C: computed whole in a buffer, then the part inside C is copied.
static void edge_tile(i32 depth, const float *a, const float *b, float *c, i32 ldc, i32 height,
                      i32 width, i32 accumulate, float *side) {
  tile(depth, a, b, side, NR, 0);
  for (i32 r = 0; r < height; r++) {
    for (i32 j = 0; j < width; j++) {
      c[r * ldc + j] = side[r * NR + j] + (accumulate ? c[r * ldc + j] : 0.0f);
    }
  }
}

static void panel_gemm(i32 m, i32 n, i32 k, const float *a, i32 a_row, i32 a_col, const float *b,
                        i32 b_row, i32 b_col, float *c, i32 ldc, i32 accumulate, float *scratch) {
  float side[MR * NR] __attribute__((aligned(16)));
  float *block_a = scratch, *block_b = scratch + GEMM_MC * GEMM_KC;
  for (i32 j0 = 0; j0 < n; j0 += GEMM_NC) {
    i32 columns = n - j0 < GEMM_NC ? n - j0 : GEMM_NC;
    for (i32 p0 = 0; p0 < k; p0 += GEMM_KC) {
      i32 depth = k - p0 < GEMM_KC ? k - p0 : GEMM_KC;
      i32 adds = accumulate || p0 > 0;
      copy_panel_b(b + p0 * b_row + j0 * b_col, b_row, b_col, depth, columns, block_b);
      for (i32 i0 = 0; i0 < m; i0 += GEMM_MC) {
        i32 rows = m - i0 < GEMM_MC ? m - i0 : GEMM_MC;
        copy_panel_a(a + i0 * a_row + p0 * a_col, a_row, a_col, rows, depth, block_a);
        for (i32 j = 0; j < columns; j += NR) {
          i32 width = columns - j < NR ? columns - j : NR;
          const float *panel_b = block_b + j * depth;
          for (i32 i = 0; i < rows; i += MR) {
            i32 height = rows - i < MR ? rows - i : MR;
            float *to = c + (i0 + i) * ldc + j0 + j;
            if (height == MR && width == NR) tile(depth, block_a + i * depth, panel_b, to, ldc, adds);
            else edge_tile(depth, block_a + i * depth, panel_b, to, ldc, height, width, adds, side);
          }
        }
      }
    }
  }
}

// A and B both run along k in memory (y = x W^T with W [out, in]): dot products, R rows of A at once
// against two of B.
#define DOT_ROWS(R)                                                                              \
  static void dot_rows_##R(i32 n, i32 k, const float *a, i32 a_row, const float *b, i32 b_col,   \
                           float *c, i32 ldc, i32 accumulate) {                                  \
    i32 j = 0;                                                                                   \
    for (; j + 2 <= n; j += 2) {                                                                 \
      const float *b0 = b + j * b_col, *b1 = b0 + b_col;                                         \
      v4 s0[R], s1[R];                                                                           \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) s0[r] = s1[r] = splat(0.0f); \
      i32 p = 0;                                                                                 \
      for (; p + 4 <= k; p += 4) {                                                               \
        v4 y0 = load4(b0 + p), y1 = load4(b1 + p);                                               \
        _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) {                         \
          v4 x = load4(a + r * a_row + p);                                                       \
          s0[r] = madd(x, y0, s0[r]), s1[r] = madd(x, y1, s1[r]);                                \
        }                                                                                        \
      }                                                                                          \
      _Pragma("clang loop unroll(full)") for (i32 r = 0; r < R; r++) {                           \
        float t0 = sum4(s0[r]), t1 = sum4(s1[r]);                                                \
        for (i32 q = p; q < k; q++) {                                                            \
          t0 += a[r * a_row + q] * b0[q], t1 += a[r * a_row + q] * b1[q];                        \
        }                                                                                        \
        float *to = c + r * ldc + j;                                                             \
        to[0] = t0 + (accumulate ? to[0] : 0.0f), to[1] = t1 + (accumulate ? to[1] : 0.0f);      \
      }                                                                                          \
    }                                                                                            \
    for (; j < n; j++) {                                                                         \
      for (i32 r = 0; r < R; r++) {                                                              \
        v4 s = splat(0.0f);                                                                      \
        i32 p = 0;                                                                               \
        for (; p + 4 <= k; p += 4) s = madd(load4(a + r * a_row + p), load4(b + j * b_col + p), s); \
        float t = sum4(s);                                                                       \
        for (; p < k; p++) t += a[r * a_row + p] * b[j * b_col + p];                             \
        c[r * ldc + j] = t + (accumulate ? c[r * ldc + j] : 0.0f);                               \
      }                                                                                          \
    }                                                                                            \
  }
DOT_ROWS(1)
DOT_ROWS(2)
DOT_ROWS(4)

static void few_rows_dot(i32 m, i32 n, i32 k, const float *a, i32 a_row, const float *b, i32 b_col,
                         float *c, i32 ldc, i32 accumulate) {
  i32 i = 0;
  // Rows of B in blocks that stay in the cache while the rows of A pass over them.
  i32 block = 16384 / (k > 0 ? k : 1);
  if (block < 2) block = 2;
  block &= ~1;
  for (i32 j0 = 0; j0 < n; j0 += block) {
    i32 columns = n - j0 < block ? n - j0 : block;
    const float *b0 = b + j0 * b_col;
    for (i = 0; i + 4 <= m; i += 4) dot_rows_4(columns, k, a + i * a_row, a_row, b0, b_col, c + i * ldc + j0, ldc, accumulate);
    for (; i + 2 <= m; i += 2) dot_rows_2(columns, k, a + i * a_row, a_row, b0, b_col, c + i * ldc + j0, ldc, accumulate);
    for (; i < m; i++) dot_rows_1(columns, k, a + i * a_row, a_row, b0, b_col, c + i * ldc + j0, ldc, accumulate);
  }
}

// B runs along n in memory: one row of C in 32 columns at a time, B read once.
static void few_rows_axpy(i32 m, i32 n, i32 k, const float *a, i32 a_row, i32 a_col, const float *b,
                          i32 b_row, float *c, i32 ldc, i32 accumulate) {
  for (i32 i = 0; i < m; i++) {
    const float *x = a + i * a_row;
    float *to = c + i * ldc;
    i32 j = 0;
    for (; j + 32 <= n; j += 32) {
      v4 s[8];
      _Pragma("clang loop unroll(full)") for (i32 u = 0; u < 8; u++) s[u] = splat(0.0f);
      for (i32 p = 0; p < k; p++) {
        v4 xs = load_splat(x + p * a_col);
        const float *row = b + p * b_row + j;
        _Pragma("clang loop unroll(full)") for (i32 u = 0; u < 8; u++) s[u] = madd(xs, load4(row + 4 * u), s[u]);
      }
      _Pragma("clang loop unroll(full)") for (i32 u = 0; u < 8; u++) {
        store4(to + j + 4 * u, accumulate ? add(s[u], load4(to + j + 4 * u)) : s[u]);
      }
    }
    for (; j + 4 <= n; j += 4) {
      v4 s = splat(0.0f);
      for (i32 p = 0; p < k; p++) s = madd(load_splat(x + p * a_col), load4(b + p * b_row + j), s);
      store4(to + j, accumulate ? add(s, load4(to + j)) : s);
    }
    for (; j < n; j++) {
      float s = 0.0f;
      for (i32 p = 0; p < k; p++) s += x[p * a_col] * b[p * b_row + j];
      to[j] = s + (accumulate ? to[j] : 0.0f);
    }
  }
}

// The host's own product, if it has a faster one (a BLAS): returns whether it ran.
__attribute__((import_module("env"), import_name("large_gemm")))
extern i32 large_gemm(i32 m, i32 n, i32 k, const float *a, i32 a_row, i32 a_col, const float *b, i32 b_row,
                      i32 b_col, float *c, i32 ldc, i32 accumulate);

void gemm(i32 m, i32 n, i32 k, const float *a, i32 a_row, i32 a_col, const float *b, i32 b_row,
          i32 b_col, float *c, i32 ldc, i32 accumulate, float *scratch) {
  if (m == 0 || n == 0) return;
  // Below this many multiplications the call out costs more than it saves.
  if ((float)m * (float)n * (float)k >= 65536.0f &&
      large_gemm(m, n, k, a, a_row, a_col, b, b_row, b_col, c, ldc, accumulate)) return;
  if (k == 0) {
    for (i32 i = 0; !accumulate && i < m; i++) fill(c + i * ldc, n, 0.0f);
  } else if (m <= 8 && a_col == 1 && b_row == 1) few_rows_dot(m, n, k, a, a_row, b, b_col, c, ldc, accumulate);
  else if (m <= 3 && b_col == 1) few_rows_axpy(m, n, k, a, a_row, a_col, b, b_row, c, ldc, accumulate);
  else panel_gemm(m, n, k, a, a_row, a_col, b, b_row, b_col, c, ldc, accumulate, scratch);
}

// The exported product: `batch` of them, each operand a fixed stride apart (0 repeats it).
EXPORT(nano_gemm)
void nano_gemm(i32 batch, i32 m, i32 n, i32 k, const float *a, i32 a_row, i32 a_col, i32 a_batch,
               const float *b, i32 b_row, i32 b_col, i32 b_batch, float *c, i32 ldc, i32 c_batch,
               i32 accumulate, float *scratch) {
  for (i32 i = 0; i < batch; i++) {
    gemm(m, n, k, a + i * a_batch, a_row, a_col, b + i * b_batch, b_row, b_col, c + i * c_batch, ldc,
         accumulate, scratch);
  }
}

EXPORT(nano_gemm_scratch_floats)
i32 nano_gemm_scratch_floats(void) { return GEMM_SCRATCH_FLOATS; }

// x[r, c] += bias[c], in place.
EXPORT(nano_add_bias)
void nano_add_bias(i32 rows, i32 columns, float *x, const float *bias) {
  for (i32 r = 0; r < rows; r++, x += columns) {
    i32 j = 0;
    for (; j + 4 <= columns; j += 4) store4(x + j, add(load4(x + j), load4(bias + j)));
    for (; j < columns; j++) x[j] += bias[j];
  }
}

// x[i] *= factor, in place.
EXPORT(nano_scale)
void nano_scale(i32 n, float factor, float *x) {
  v4 f = splat(factor);
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(x + i, mul(load4(x + i), f));
  for (; i < n; i++) x[i] *= factor;
}
