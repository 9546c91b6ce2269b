// Values rounded to bfloat16 or float16, for mixed precision. Outputs are written (=).
#include "half.h"

// y [n] = x [n] in a 16-bit format; y may be x.
EXPORT(nano_round_half)
void nano_round_half(i32 n, i32 format, const float *x, float *y) { round_row(x, y, n, format); }

// The bits of x [n] in a 16-bit format; after an odd n, zeros up to the next word.
EXPORT(nano_pack_half)
void nano_pack_half(i32 n, i32 format, const float *x, u16 *bits) {
  i32 i = 0;
  if (format == FORMAT_BF16) {
    for (; i + 8 <= n; i += 8) {
      v4 low = narrow_bf16(round_bf16(load4(x + i))), high = narrow_bf16(round_bf16(load4(x + i + 4)));
      wasm_v128_store(bits + i, wasm_u16x8_narrow_i32x4(low, high));
    }
  } else {
    for (; i + 8 <= n; i += 8) {
      v4 low = narrow_f16(round_f16(load4(x + i))), high = narrow_f16(round_f16(load4(x + i + 4)));
      wasm_v128_store(bits + i, wasm_u16x8_narrow_i32x4(low, high));
    }
  }
  for (; i < n; i++) bits[i] = wasm_i32x4_extract_lane(narrow_half(wasm_v128_load32_splat(x + i), format), 0);
  if (n & 1) bits[n] = 0;
}
