// Copying, gathering, scattering and zeroing rows. Outputs are written (=), except by scatter_add (+=).
#include "simd.h"

EXPORT(nano_fill)
void nano_fill(i32 n, float *x, float value) { fill(x, n, value); }

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
