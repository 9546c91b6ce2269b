// Rotary embedding, patches and pixel shuffle. Outputs are written (=).
#include "rope.h"

// Rotary embedding of every head of every token; cos and sin are [tokens, D/2].
EXPORT(nano_rope)
void nano_rope(i32 tokens, i32 H, i32 D, const float *x, const float *cos, const float *sin, float sign, float *y) {
  for (i32 t = 0; t < tokens; t++, cos += D / 2, sin += D / 2) {
    for (i32 h = 0; h < H; h++, x += D, y += D) rotate(D, x, cos, sin, sign, y);
  }
}

// images [N, channels, S, S] to patches [N, (S/p)^2, channels * p * p], or back if `inverse`.
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

// x [N, (out * s)^2, C] to [N, out^2, s * s * C], or back if `inverse`.
EXPORT(nano_pixel_shuffle)
void nano_pixel_shuffle(i32 N, i32 out, i32 s, i32 C, const float *from, float *to, i32 inverse) {
  i32 row = s * C;
  for (i32 n = 0; n < N; n++)
    for (i32 oy = 0; oy < out; oy++)
      for (i32 y = 0; y < s; y++)
        for (i32 ox = 0; ox < out; ox++) {
          i32 flat = ((n * out + oy) * s + y) * out * row + ox * row;
          i32 shuffled = ((n * out + oy) * out + ox) * s * row + y * row;
          copy(row, from + (inverse ? shuffled : flat), to + (inverse ? flat : shuffled));
        }
}
