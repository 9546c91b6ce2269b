/**
 * PyTorch's bilinear resize with antialiasing, for float images.
 *
 * @module
 */

interface Weights {
  first: Int32Array; // [out]
  count: Int32Array; // [out]
  weights: Float32Array; // [out, stride]
  stride: number;
}

function triangleWeights(inSize: number, outSize: number): Weights {
  const scale = Math.fround(inSize / outSize);
  const support = Math.max(scale, 1);
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(outSize), count = new Int32Array(outSize);
  const weights = new Float32Array(outSize * stride);
  const inverse = scale >= 1 ? 1 / scale : 1;
  for (let out = 0; out < outSize; out++) {
    const center = scale * (out + 0.5);
    const from = Math.max(Math.trunc(center - support + 0.5), 0);
    const size = Math.min(Math.trunc(center + support + 0.5), inSize) - from;
    const at = out * stride;
    let sum = 0;
    for (let i = 0; i < size; i++) {
      const weight = Math.max(0, 1 - Math.abs((i + from - center + 0.5) * inverse));
      weights[at + i] = weight;
      sum += weight;
    }
    if (sum !== 0) { for (let i = 0; i < size; i++) weights[at + i] /= sum; }
    first[out] = from;
    count[out] = size;
  }
  return { first, count, weights, stride };
}

/**
 * `torch.nn.functional.interpolate(…, mode="bilinear", antialias=True, align_corners=False)` of
 * one plane: the triangle kernel is widened when shrinking; first the width, then the height.
 *
 * Source: ATen's `UpSampleKernel.cpp` (`_upsample_bilinear2d_aa`).
 *
 * @param plane [height, width]
 * @returns [outHeight, outWidth]
 */
export function antialiasResize(
  plane: Float32Array,
  width: number,
  height: number,
  outWidth: number,
  outHeight: number,
): Float32Array {
  let current = plane;
  if (outWidth !== width) {
    const { first, count, weights, stride } = triangleWeights(width, outWidth);
    const next = new Float32Array(outWidth * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < outWidth; x++) {
        const from = y * width + first[x], base = x * stride;
        let sum = 0;
        for (let i = 0; i < count[x]; i++) sum += current[from + i] * weights[base + i];
        next[y * outWidth + x] = sum;
      }
    }
    current = next;
  }
  if (outHeight !== height) {
    const { first, count, weights, stride } = triangleWeights(height, outHeight);
    const next = new Float32Array(outWidth * outHeight);
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++) {
        let sum = 0;
        for (let i = 0; i < count[y]; i++) {
          sum += current[(first[y] + i) * outWidth + x] * weights[y * stride + i];
        }
        next[y * outWidth + x] = sum;
      }
    }
    current = next;
  }
  return current;
}
