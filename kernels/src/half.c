// Values rounded to bfloat16 or float16, for mixed precision. Outputs are written (=).
#include "half.h"

// y [n] = x [n] in a 16-bit format; y may be x.
EXPORT(nano_round_half)
void nano_round_half(i32 n, i32 format, const float *x, float *y) { round_row(x, y, n, format); }
