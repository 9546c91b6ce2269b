// Moving rows: rotation, gathering, scattering, patches. Outputs are written (=) but for scatter_add.
#include "rope.h"

// Rotary embedding of every head of every token; cos and sin are [tokens, D/2].
EXPORT(nano_rope)
void nano_rope(i32 tokens, i32 H, i32 D, const float *x, const float *cos, const float *sin, float sign, float *y) {
  for (i32 t = 0; t < tokens; t++, cos += D / 2, sin += D / 2) {
    for (i32 h = 0; h < H; h++, x += D, y += D) turn(D, x, cos, sin, sign, y);
  }
}

INLINE void copy(i32 n, const float *x, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(y + i, load4(x + i));
  for (; i < n; i++) y[i] = x[i];
}

EXPORT(nano_fill)
void nano_fill(i32 n, float *x, float value) { fill(x, n, value); }

// y += x
EXPORT(nano_add_to)
void nano_add_to(i32 n, const float *x, float *y) {
  i32 i = 0;
  for (; i + 4 <= n; i += 4) store4(y + i, add(load4(y + i), load4(x + i)));
  for (; i < n; i++) y[i] += x[i];
}

EXPORT(nano_copy)
void nano_copy(i32 n, const float *x, float *y) { copy(n, x, y); }

// Rows of `width` floats from one array to another, each array's rows so many floats apart.
EXPORT(nano_copy_rows)
void nano_copy_rows(i32 rows, i32 width, const float *from, i32 from_row, float *to, i32 to_row) {
  for (i32 r = 0; r < rows; r++) copy(width, from + r * from_row, to + r * to_row);
}

// out[ids[i]] = 0
EXPORT(nano_zero_rows)
void nano_zero_rows(i32 n, i32 C, const i32 *ids, float *out) {
  for (i32 i = 0; i < n; i++) fill(out + ids[i] * C, C, 0.0f);
}

// out[i] = table[ids[i]], rows of C
EXPORT(nano_gather_rows)
void nano_gather_rows(i32 n, i32 C, const float *table, const i32 *ids, float *out) {
  for (i32 i = 0; i < n; i++) copy(C, table + ids[i] * C, out + i * C);
}

// out[ids[i]] = rows[i]
EXPORT(nano_scatter_rows)
void nano_scatter_rows(i32 n, i32 C, const float *rows, const i32 *ids, float *out) {
  for (i32 i = 0; i < n; i++) copy(C, rows + i * C, out + ids[i] * C);
}

// out[ids[i]] += rows[i], in the order of i; negative ids are passed over.
EXPORT(nano_scatter_add_rows)
void nano_scatter_add_rows(i32 n, i32 C, const float *rows, const i32 *ids, float *out) {
  for (i32 i = 0; i < n; i++, rows += C) {
    if (ids[i] < 0) continue;
    float *to = out + ids[i] * C;
    i32 j = 0;
    for (; j + 4 <= C; j += 4) store4(to + j, add(load4(to + j), load4(rows + j)));
    for (; j < C; j++) to[j] += rows[j];
  }
}

// images [N, channels, S, S] to patches [N, (S/p)^2, channels * p * p], or back where `inverse`.
EXPORT(nano_patches)
void nano_patches(i32 N, i32 channels, i32 S, i32 p, const float *from, float *to, i32 inverse) {
  i32 side = S / p;
  for (i32 n = 0; n < N; n++)
    for (i32 gy = 0; gy < side; gy++)
      for (i32 gx = 0; gx < side; gx++)
        for (i32 c = 0; c < channels; c++)
          for (i32 y = 0; y < p; y++) {
            i32 image = ((n * channels + c) * S + gy * p + y) * S + gx * p;
            i32 patch = (((n * side + gy) * side + gx) * channels + c) * p * p + y * p;
            copy(p, from + (inverse ? patch : image), to + (inverse ? image : patch));
          }
}

// x [N, (out * s)^2, C] to [N, out^2, s * s * C], or back where `inverse`.
EXPORT(nano_pixel_shuffle)
void nano_pixel_shuffle(i32 N, i32 out, i32 s, i32 C, const float *from, float *to, i32 inverse) {
  i32 row = s * C;
  for (i32 n = 0; n < N; n++)
    for (i32 oy = 0; oy < out; oy++)
      for (i32 y = 0; y < s; y++)
        for (i32 ox = 0; ox < out; ox++) {
          i32 flat = ((n * out + oy) * s + y) * out * row + ox * row;
          i32 packed = ((n * out + oy) * out + ox) * s * row + y * row;
          copy(row, from + (inverse ? packed : flat), to + (inverse ? flat : packed));
        }
}

// The word that PCG's RXS-M-XS gives for a counter (O'Neill, 2014).
INLINE u32 mix(u32 word) {
  u32 state = word * 747796405u + 2891336453u;
  u32 product = ((state >> ((state >> 28) + 4)) ^ state) * 277803737u;
  return (product >> 22) ^ product;
}

// y[i] = x[i] * keep where the random word of i is at least threshold, else 0.
EXPORT(nano_dropout)
void nano_dropout(i32 n, const float *x, u32 key, u32 threshold, float keep, float *y) {
  for (i32 i = 0; i < n; i++) y[i] = mix((u32)i ^ key) < threshold ? 0.0f : x[i] * keep;
}
