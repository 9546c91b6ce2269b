// softmax(q k^T * scale) v with grouped queries, forward and backward, in blocks of queries: what is kept is
// the log-sum-exp of each row (Dao et al., 2022), never the [Tq, Tk] matrix.
//
// q, out [B, Tq, H, D]; k, v [B, Tk, K, D] with K a divisor of H; lse [B, H, Tq]. Where offsets [B + 1] are
// given, the rows lie one behind the other instead, row b being the tokens offsets[b] .. offsets[b + 1] of N,
// and Tq = Tk is the longest row's length.
// Query i of row b sees key j of the row if j < ends[b, i] and (starts[b] <= j < prefix_ends[b] or
// branch_starts[b, i] <= j). All four addresses 0: every query sees every key. A query that sees nothing
// gives zeros.
//
// If cos and sin [B, Tq, D/2] are given, queries are rotated by them (rope.h) as a block of them is read. With
// rotate_keys (Tq = Tk) keys are too, once for each key/value head; their gradients are rotated back where they
// are stored.
#include "gemm.h"
#include "rope.h"

// Queries of a run that no branch ends: smaller ones cost more in calls than they save in keys.
#define LEAST_RUN 8

// Runs of a block at most.
#define MOST_RUNS 32

typedef struct {
  i32 first, first_count;    // the row's prefix: keys first .. first + first_count
  i32 second, second_count;  // the branches of a run of queries
} Window;

// Queries of a block that share a window: whole branches. The prefix is the same for all runs of a block, so
// that its products are one each.
typedef struct {
  i32 row, rows;
  Window window;
} Run;

// Where the queries and keys of a row lie among those of all rows.
typedef struct {
  i32 query, queries, key, keys;
} Row;

// Who sees whom in a row; no ends: every query sees every key.
typedef struct {
  i32 keys, start, prefix_end;
  const i32 *branch_starts, *ends;  // of the row's queries
} Mask;

INLINE i32 least(i32 a, i32 b) { return a < b ? a : b; }
INLINE i32 most(i32 a, i32 b) { return a > b ? a : b; }

static Row row_of(const i32 *offsets, i32 b, i32 Tq, i32 Tk) {
  if (offsets == 0) return (Row){b * Tq, Tq, b * Tk, Tk};
  i32 first = offsets[b], count = offsets[b + 1] - first;
  return (Row){first, count, first, count};
}

static Mask mask_of(Row row, i32 b, const i32 *starts, const i32 *prefix_ends, const i32 *branch_starts,
                    const i32 *ends) {
  if (starts == 0) return (Mask){row.keys, 0, 0, 0, 0};
  return (Mask){row.keys, starts[b], prefix_ends[b], branch_starts + row.query, ends + row.query};
}

// The query's own keys start no earlier than its prefix ends, so that none counts twice.
INLINE i32 branch_start(const Mask *mask, i32 i) {
  i32 start = mask->branch_starts[i];
  return mask->prefix_end > mask->start ? most(start, mask->prefix_end) : start;
}

// The keys that any of `count` queries from i0 sees.
static Window window_of(const Mask *mask, i32 i0, i32 count) {
  Window w = {0, 0, 0, mask->keys};
  if (mask->ends == 0) return w;
  i32 last = 0, low = mask->keys;
  for (i32 i = i0; i < i0 + count; i++) {
    i32 end = least(mask->ends[i], mask->keys), start = branch_start(mask, i);
    last = most(last, end);
    if (start < end) low = least(low, start);
  }
  w.first = mask->start;
  w.first_count = most(0, least(mask->prefix_end, last) - w.first);
  w.second = low;
  w.second_count = most(0, last - low);
  return w;
}

// How many of up to `most_rows` queries from i0 make a run: whole branches, so that the run's window holds few
// keys that a query of it does not see. Branches of a few queries share a run.
static i32 run_queries(const Mask *mask, i32 i0, i32 most_rows) {
  if (mask->ends == 0 || mask->prefix_end <= mask->start) return most_rows;
  const i32 *starts = mask->branch_starts + i0;
  i32 rows = 1;
  while (rows < most_rows && (rows < LEAST_RUN || starts[rows] == starts[rows - 1])) rows++;
  return rows;
}

// The runs of a block of `count` queries from i0, and how many there are.
static i32 runs_of(const Mask *mask, i32 i0, i32 count, Run *runs) {
  i32 n = 0, prefix = 0;
  for (i32 row = 0; row < count; row += runs[n++].rows) {
    i32 rows = n + 1 < MOST_RUNS ? run_queries(mask, i0 + row, count - row) : count - row;
    Run run = {row, rows, window_of(mask, i0 + row, rows)};
    prefix = most(prefix, run.window.first_count);
    runs[n] = run;
  }
  for (i32 i = 0; i < n; i++) runs[i].window.first_count = prefix;
  return n;
}

// Keys of the widest window.
static i32 widest(const Run *runs, i32 n) {
  i32 width = 0;
  for (i32 i = 0; i < n; i++) width = most(width, runs[i].window.first_count + runs[i].window.second_count);
  return width;
}

// Columns of a window's score row that query i sees: 0 .. seen[0] and seen[1] .. seen[2].
INLINE void seen_columns(const Mask *mask, const Window *w, i32 i, i32 *seen) {
  i32 width = w->first_count + w->second_count;
  seen[0] = 0, seen[1] = 0, seen[2] = width;
  if (mask->ends == 0) return;
  i32 end = least(mask->ends[i], mask->keys), start = branch_start(mask, i);
  seen[0] = most(0, least(w->first_count, end - w->first));
  seen[1] = w->first_count + most(0, start - w->second);
  seen[2] = w->first_count + least(w->second_count, end - w->second);
  if (start >= end || seen[2] < seen[1]) seen[1] = seen[2] = seen[0];
}

INLINE float row_max(const float *x, i32 from, i32 to, float best) {
  v4 m = splat(best);
  i32 j = from;
  for (; j + 4 <= to; j += 4) m = vmax(m, load4(x + j));
  best = max4(m);
  for (; j < to; j++) best = x[j] > best ? x[j] : best;
  return best;
}

// x = e^(x * scale - shift) in place; returns the sum.
INLINE float row_exp(float *x, i32 from, i32 to, float scale, float shift) {
  v4 s = splat(0.0f), vscale = splat(scale), vshift = splat(-shift);
  i32 j = from;
  for (; j + 4 <= to; j += 4) {
    v4 e = exp4(madd(load4(x + j), vscale, vshift));
    store4(x + j, e);
    s = add(s, e);
  }
  float sum = sum4(s);
  if (j < to) {
    v4 e = exp4(madd(load_part(x + j, to - j), vscale, vshift));
    store_part(x + j, e, to - j);
    for (; j < to; j++) sum += x[j];
  }
  return sum;
}

INLINE void row_scale(float *x, i32 from, i32 to, float factor) {
  v4 f = splat(factor);
  i32 j = from;
  for (; j + 4 <= to; j += 4) store4(x + j, mul(load4(x + j), f));
  for (; j < to; j++) x[j] *= factor;
}

// x = p * (x - delta) * scale in place
INLINE void row_dscore(float *x, const float *p, i32 n, float delta, float scale) {
  v4 d = splat(delta), s = splat(scale);
  i32 j = 0;
  for (; j + 4 <= n; j += 4) store4(x + j, mul(mul(load4(p + j), sub(load4(x + j), d)), s));
  for (; j < n; j++) x[j] = p[j] * (x[j] - delta) * scale;
}

// Scores of a block's queries against their windows: scores[r, column], unscaled.
static void window_scores(const Run *runs, i32 n, i32 D, const float *q, i32 q_row, const float *k, i32 k_row,
                          float *scores, i32 ld, float *scratch) {
  i32 prefix = runs->window.first_count, rows = runs[n - 1].row + runs[n - 1].rows;
  if (prefix > 0)
    gemm(rows, prefix, D, q, q_row, 1, k + runs->window.first * k_row, 1, k_row, scores, ld, 0, scratch);
  for (const Run *run = runs; run < runs + n; run++) {
    const Window *w = &run->window;
    if (w->second_count > 0)
      gemm(run->rows, w->second_count, D, q + run->row * q_row, q_row, 1, k + w->second * k_row, 1, k_row,
           scores + run->row * ld + prefix, ld, 0, scratch);
  }
}

// out [rows, D] (=) weights [rows, window] x keys or values [window, D]; zeros if a window is empty.
static void window_product(const Run *runs, i32 n, i32 D, const float *weights, i32 ld, const float *v, i32 v_row,
                           float *out, i32 out_row, float *scratch) {
  i32 prefix = runs->window.first_count, rows = runs[n - 1].row + runs[n - 1].rows;
  if (prefix > 0)
    gemm(rows, D, prefix, weights, ld, 1, v + runs->window.first * v_row, v_row, 1, out, out_row, 0, scratch);
  for (const Run *run = runs; run < runs + n; run++) {
    const Window *w = &run->window;
    float *to = out + run->row * out_row;
    if (w->second_count > 0)
      gemm(run->rows, D, w->second_count, weights + run->row * ld + prefix, ld, 1, v + w->second * v_row, v_row, 1, to,
           out_row, prefix > 0, scratch);
    else if (prefix == 0)
      for (i32 r = 0; r < run->rows; r++) fill(to + r * out_row, D, 0.0f);
  }
}

// out [window, D] (+=) weights^T [window, rows] x x [rows, D].
static void window_transposed(const Run *runs, i32 n, i32 D, const float *weights, i32 ld, const float *x, i32 x_row,
                              float *out, i32 out_row, float *scratch) {
  i32 prefix = runs->window.first_count, rows = runs[n - 1].row + runs[n - 1].rows;
  if (prefix > 0)
    gemm(prefix, D, rows, weights, 1, ld, x, x_row, 1, out + runs->window.first * out_row, out_row, 1, scratch);
  for (const Run *run = runs; run < runs + n; run++) {
    const Window *w = &run->window;
    if (w->second_count > 0)
      gemm(w->second_count, D, run->rows, weights + run->row * ld + prefix, 1, ld, x + run->row * x_row, x_row, 1,
           out + w->second * out_row, out_row, 1, scratch);
  }
}

// to [rows, D] = the rows of x, each rotated by its angles, which lie `angle_row` apart; 0: all have the same.
static void rotate_rows(i32 rows, i32 D, const float *x, i32 x_row, const float *cos, const float *sin, i32 angle_row,
                      float sign, float *to, i32 to_row) {
  for (i32 r = 0; r < rows; r++)
    rotate(D, x + r * x_row, cos + r * angle_row, sin + r * angle_row, sign, to + r * to_row);
}

// Of the rows b0 .. b1 the key/value heads k0 .. k1, with the query heads that share them: what one thread
// takes. Scratch in floats: GEMM_SCRATCH_FLOATS + block * (Tk rounded up to 4), and if something is rotated
// (block + Tk) * D; block: queries at a time, at least H / K if Tq is 1.
EXPORT(nano_attention)
void nano_attention(i32 b0, i32 b1, i32 Tq, i32 Tk, i32 H, i32 K, i32 D, const float *q, const float *k, const float *v,
                    const i32 *starts, const i32 *prefix_ends, const i32 *branch_starts, const i32 *ends, const i32 *offsets,
                    const float *cos, const float *sin, i32 rotate_keys, float scale, float *out, float *lse, i32 k0, i32 k1, i32 block, float *scratch) {
  i32 G = H / K, k_row = K * D, most_keys = (Tk + 3) & ~3, half = D / 2;
  float *scores = scratch + GEMM_SCRATCH_FLOATS, *rotated = scores + block * most_keys;
  float *rotated_keys = rotated + block * D;
  Run runs[MOST_RUNS];
  for (i32 b = b0; b < b1; b++) {
    Row row = row_of(offsets, b, Tq, Tk);
    Mask mask = mask_of(row, b, starts, prefix_ends, branch_starts, ends);
    // With one query a row, a group's heads are the rows of the block, since they share the keys.
    i32 grouped = row.queries == 1, shared = grouped ? 1 : G, count = grouped ? G : row.queries;
    i32 q_row = grouped ? D : H * D;
    const float *key_cos = cos + row.key * half, *key_sin = sin + row.key * half;
    for (i32 h = k0 * shared; h < k1 * shared; h++) {
      i32 first_head = grouped ? h * G : h;
      const float *keys = k + row.key * k_row + (first_head / G) * D;
      const float *values = v + row.key * k_row + (first_head / G) * D;
      i32 key_row = k_row;
      if (rotate_keys) {
        if (h % shared == 0) rotate_rows(row.keys, D, keys, k_row, key_cos, key_sin, half, 1.0f, rotated_keys, D);
        keys = rotated_keys, key_row = D;
      }
      for (i32 i0 = 0, rows; i0 < count; i0 += rows) {
        rows = least(block, count - i0);
        const float *queries = q + row.query * H * D + first_head * D + i0 * q_row;
        float *to = out + row.query * H * D + first_head * D + i0 * q_row;
        i32 query_row = q_row;
        if (cos != 0) {
          i32 angle = (row.query + (grouped ? 0 : i0)) * half;
          rotate_rows(rows, D, queries, q_row, cos + angle, sin + angle, grouped ? 0 : half, 1.0f, rotated, D);
          queries = rotated, query_row = D;
        }
        i32 n = runs_of(&mask, grouped ? 0 : i0, grouped ? 1 : rows, runs);
        if (grouped) runs->rows = rows;
        i32 ld = (widest(runs, n) + 3) & ~3;
        window_scores(runs, n, D, queries, query_row, keys, key_row, scores, ld, scratch);
        const Run *run = runs;
        float *sums = lse + row.query * H + (grouped ? first_head + i0 : first_head * row.queries + i0);
        for (i32 r = 0; r < rows; r++) {
          if (r == run->row + run->rows) run++;
          i32 seen[3], width = run->window.first_count + run->window.second_count;
          seen_columns(&mask, &run->window, grouped ? 0 : i0 + r, seen);
          float *line = scores + r * ld;
          if (seen[0] == 0 && seen[1] == seen[2]) {
            fill(line, width, 0.0f);
            sums[r] = 0.0f;
            continue;
          }
          float best = row_max(line, 0, seen[0], -3.0e38f);
          best = row_max(line, seen[1], seen[2], best) * scale;
          float sum = row_exp(line, 0, seen[0], scale, best) + row_exp(line, seen[1], seen[2], scale, best);
          float inverse = 1.0f / sum;
          row_scale(line, 0, seen[0], inverse), row_scale(line, seen[1], seen[2], inverse);
          fill(line + seen[0], seen[1] - seen[0], 0.0f), fill(line + seen[2], width - seen[2], 0.0f);
          sums[r] = best + log1(sum);
        }
        window_product(runs, n, D, scores, ld, values, k_row, to, q_row, scratch);
      }
    }
  }
}

// dq, dk, dv are written (=), shaped as q, k, v, for the rows b0 .. b1 and the key/value heads k0 .. k1. Scratch
// in floats: GEMM_SCRATCH_FLOATS + 2 * block * (Tk rounded up to 4), and if something is rotated
// (block + Tk) * D.
EXPORT(nano_attention_backward)
void nano_attention_backward(i32 b0, i32 b1, i32 Tq, i32 Tk, i32 H, i32 K, i32 D, const float *q, const float *k,
                             const float *v, const i32 *starts, const i32 *prefix_ends, const i32 *branch_starts,
                             const i32 *ends, const i32 *offsets, const float *cos, const float *sin, i32 rotate_keys, float scale, const float *out, const float *lse, const float *dout,
                             float *dq, float *dk, float *dv, i32 k0, i32 k1, i32 block, float *scratch) {
  i32 G = H / K, k_row = K * D, q_row = H * D, most_keys = (Tk + 3) & ~3, half = D / 2;
  float *p = scratch + GEMM_SCRATCH_FLOATS, *ds = p + block * most_keys;
  float *rotated = ds + block * most_keys, *rotated_keys = rotated + block * D;
  Run runs[MOST_RUNS];
  for (i32 b = b0; b < b1; b++) {
    Row row = row_of(offsets, b, Tq, Tk);
    Mask mask = mask_of(row, b, starts, prefix_ends, branch_starts, ends);
    const float *key_cos = cos + row.key * half, *key_sin = sin + row.key * half;
    for (i32 t = row.key; t < row.key + row.keys; t++) {
      fill(dk + t * k_row + k0 * D, (k1 - k0) * D, 0.0f), fill(dv + t * k_row + k0 * D, (k1 - k0) * D, 0.0f);
    }
    for (i32 h = k0 * G; h < k1 * G; h++) {
      i32 key_offset = row.key * k_row + (h / G) * D, key_row = k_row;
      const float *keys = k + key_offset;
      if (rotate_keys) {
        if (h % G == 0) rotate_rows(row.keys, D, keys, k_row, key_cos, key_sin, half, 1.0f, rotated_keys, D);
        keys = rotated_keys, key_row = D;
      }
      for (i32 i0 = 0, rows; i0 < row.queries; i0 += rows) {
        rows = least(block, row.queries - i0);
        i32 query_offset = (row.query + i0) * q_row + h * D;
        i32 n = runs_of(&mask, i0, rows, runs), ld = (widest(runs, n) + 3) & ~3;
        const float *queries = q + query_offset;
        i32 query_row = q_row, angle = (row.query + i0) * half;
        if (cos != 0) {
          rotate_rows(rows, D, queries, q_row, cos + angle, sin + angle, half, 1.0f, rotated, D);
          queries = rotated, query_row = D;
        }
        window_scores(runs, n, D, queries, query_row, keys, key_row, p, ld, scratch);
        window_scores(runs, n, D, dout + query_offset, q_row, v + key_offset, k_row, ds, ld, scratch);
        const Run *run = runs;
        const float *sums = lse + row.query * H + h * row.queries + i0;
        for (i32 r = 0; r < rows; r++) {
          if (r == run->row + run->rows) run++;
          i32 seen[3], width = run->window.first_count + run->window.second_count;
          seen_columns(&mask, &run->window, i0 + r, seen);
          float *line = p + r * ld, shift = sums[r];
          row_exp(line, 0, seen[0], scale, shift), row_exp(line, seen[1], seen[2], scale, shift);
          fill(line + seen[0], seen[1] - seen[0], 0.0f), fill(line + seen[2], width - seen[2], 0.0f);
          const float *o = out + query_offset + r * q_row, *d = dout + query_offset + r * q_row;
          v4 s = splat(0.0f);
          i32 j = 0;
          for (; j + 4 <= D; j += 4) s = madd(load4(o + j), load4(d + j), s);
          float delta = sum4(s);
          for (; j < D; j++) delta += o[j] * d[j];
          row_dscore(ds + r * ld, line, width, delta, scale);
        }
        window_transposed(runs, n, D, p, ld, dout + query_offset, q_row, dv + key_offset, k_row, scratch);
        window_transposed(runs, n, D, ds, ld, queries, query_row, dk + key_offset, k_row, scratch);
        float *to = dq + query_offset;
        window_product(runs, n, D, ds, ld, keys, key_row, to, q_row, scratch);
        if (cos != 0) rotate_rows(rows, D, to, q_row, cos + angle, sin + angle, half, -1.0f, to, q_row);
      }
      if (rotate_keys && h % G == G - 1) {
        float *to = dk + key_offset;
        rotate_rows(row.keys, D, to, k_row, key_cos, key_sin, half, -1.0f, to, k_row);
      }
    }
  }
}
