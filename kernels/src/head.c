// The language-model head with the log-probabilities of given tokens, in blocks of rows and of vocabulary:
// no [N, V] array exists. Logits are z = (h W^T) * inverse_temperature. W may be packed in 16 bits (packed.h):
// then one block of it after the other is widened into scratch.
#include "gemm.h"
#include "half.h"
#include "packed.h"

#define ROWS 192
#define WIDTH 1024
#define STATE_FLOATS (4 * ROWS)

EXPORT(nano_head_scratch_floats)
i32 nano_head_scratch_floats(i32 format, i32 C) {
  return GEMM_SCRATCH_FLOATS + STATE_FLOATS + ROWS * WIDTH + (format == FORMAT_F32 ? 0 : WIDTH * C);
}

// Rows v0 .. v0 + width of W as floats.
INLINE const float *head_rows(i32 format, i32 C, const void *W, i32 v0, i32 width, float *wide) {
  if (format == FORMAT_F32) return (const float *)W + v0 * C;
  unpack(format, width * C, packed_at(format, (const u16 *)W, v0 * C), wide);
  return wide;
}

// hidden [N, C], W [V, C], targets [N] (any id outside 0 .. V - 1 gives log-probability 0).
// log_probs [N] = z[target] - lse; lse [N] = log sum e^z; entropy [N] (0: not wanted), in nats.
// With `rounding` to a 16-bit format the products h W^T are rounded, before the temperature.
EXPORT(nano_head_log_probs)
void nano_head_log_probs(i32 N, i32 C, i32 V, const float *hidden, i32 format, const void *W, const i32 *targets,
                         float inverse_temperature, float *log_probs, float *lse, float *entropy, i32 rounding,
                         float *scratch) {
  float *state = scratch + GEMM_SCRATCH_FLOATS, *logits = state + STATE_FLOATS, *wide = logits + ROWS * WIDTH;
  float *largest = state, *sums = state + ROWS, *moments = sums + ROWS, *picked = moments + ROWS;
  for (i32 r0 = 0; r0 < N; r0 += ROWS) {
    i32 rows = N - r0 < ROWS ? N - r0 : ROWS;
    fill(largest, rows, -3.0e38f), fill(sums, rows, 0.0f), fill(moments, rows, 0.0f), fill(picked, rows, 0.0f);
    for (i32 v0 = 0; v0 < V; v0 += WIDTH) {
      i32 width = V - v0 < WIDTH ? V - v0 : WIDTH;
      const float *rows_of_W = head_rows(format, C, W, v0, width, wide);
      gemm(rows, width, C, hidden + r0 * C, C, 1, rows_of_W, 1, C, logits, WIDTH, 0, scratch);
      for (i32 r = 0; r < rows; r++) {
        float *z = logits + r * WIDTH;
        if (rounding) round_row(z, z, width, rounding);
        v4 m = splat(-3.0e38f), t = splat(inverse_temperature);
        i32 j = 0;
        for (; j + 4 <= width; j += 4) { v4 x = mul(load4(z + j), t); store4(z + j, x); m = vmax(m, x); }
        float best = max4(m);
        for (; j < width; j++) { z[j] *= inverse_temperature; best = z[j] > best ? z[j] : best; }
        i32 target = targets[r0 + r] - v0;
        if (target >= 0 && target < width) picked[r] = z[target];
        if (best > largest[r]) {
          float shift = largest[r] - best, factor = exp1(shift);
          moments[r] = sums[r] == 0.0f ? 0.0f : factor * (moments[r] + shift * sums[r]);
          sums[r] *= factor, largest[r] = best;
        }
        v4 c = splat(largest[r]), s = splat(0.0f), e = splat(0.0f);
        for (j = 0; j + 4 <= width; j += 4) {
          v4 x = sub(load4(z + j), c), p = exp4(x);
          s = add(s, p), e = madd(p, x, e);
        }
        sums[r] += sum4(s), moments[r] += sum4(e);
        for (; j < width; j++) {
          float x = z[j] - largest[r], p = exp1(x);
          sums[r] += p, moments[r] += p * x;
        }
      }
    }
    for (i32 r = 0; r < rows; r++) {
      float log_sum = log1(sums[r]);
      i32 target = targets[r0 + r];
      lse[r0 + r] = largest[r] + log_sum;
      log_probs[r0 + r] = target >= 0 && target < V ? picked[r] - lse[r0 + r] : 0.0f;
      if (entropy) entropy[r0 + r] = log_sum - moments[r] / sums[r];
    }
  }
}

// From d_log_probs [N] and d_entropy [N] (0: none; then entropy may be 0 too):
// dz = (d_log_prob * (onehot - p) - d_entropy * p * (log p + entropy)) * inverse_temperature,
// d_hidden [N, C] (=) dz W and dW [V, C] (=, or += if accumulate) dz^T hidden; either may be 0.
// With `rounding` to a 16-bit format the products h W^T and then dz are rounded.
EXPORT(nano_head_backward)
void nano_head_backward(i32 N, i32 C, i32 V, const float *hidden, i32 format, const void *W, const i32 *targets,
                        float inverse_temperature, const float *lse, const float *entropy, const float *d_log_probs,
                        const float *d_entropy, float *d_hidden, float *dW, i32 accumulate, i32 rounding,
                        float *scratch) {
  float *dz = scratch + GEMM_SCRATCH_FLOATS + STATE_FLOATS, *wide = dz + ROWS * WIDTH;
  v4 t = splat(inverse_temperature);
  for (i32 r0 = 0; r0 < N; r0 += ROWS) {
    i32 rows = N - r0 < ROWS ? N - r0 : ROWS;
    for (i32 v0 = 0; v0 < V; v0 += WIDTH) {
      i32 width = V - v0 < WIDTH ? V - v0 : WIDTH;
      const float *rows_of_W = head_rows(format, C, W, v0, width, wide);
      gemm(rows, width, C, hidden + r0 * C, C, 1, rows_of_W, 1, C, dz, WIDTH, 0, scratch);
      for (i32 r = 0; r < rows; r++) {
        float *z = dz + r * WIDTH;
        if (rounding) round_row(z, z, width, rounding);
        i32 target = targets[r0 + r], counts = target >= 0 && target < V;
        float weight = counts ? d_log_probs[r0 + r] : 0.0f, slope = d_entropy ? d_entropy[r0 + r] : 0.0f;
        // -(weight + slope * (log p + entropy)) * p * inverse_temperature
        v4 shift = splat(-lse[r0 + r]), a = splat(-slope * inverse_temperature);
        v4 b = splat(-(weight + (d_entropy ? slope * entropy[r0 + r] : 0.0f)) * inverse_temperature);
        for (i32 j = 0; j < width; j += 4) {
          i32 c = width - j;
          v4 x = madd(c < 4 ? load_part(z + j, c) : load4(z + j), t, shift);
          v4 d = mul(exp4(x), madd(x, a, b));
          if (c < 4) store_part(z + j, d, c);
          else store4(z + j, d);
        }
        target -= v0;
        if (counts && target >= 0 && target < width) z[target] += weight * inverse_temperature;
        if (rounding) round_row(z, z, width, rounding);
      }
      if (d_hidden)
        gemm(rows, C, width, dz, WIDTH, 1, rows_of_W, C, 1, d_hidden + r0 * C, C, v0 > 0, scratch);
      if (dW)
        gemm(width, C, rows, dz, 1, WIDTH, hidden + r0 * C, C, 1, dW + v0 * C, C, accumulate || r0 > 0, scratch);
    }
  }
}
