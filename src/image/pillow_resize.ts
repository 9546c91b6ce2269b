/**
 * Pillow's `Image.resize` for 8-bit RGB, to the bit.
 *
 * Source: Pillow's `src/libImaging/Resample.c`. The kernel is widened when shrinking, its weights
 * are normalised and rounded to 22-bit integers, and two passes are made, one a direction, with
 * rounding and clipping to 8 bits after each.
 *
 * @module
 */
import type { RgbImage } from "./rgb_image.ts";

/** Interpolation kernels: Keys' cubic with a = −0.5, the triangle, and Lanczos with 3 lobes. */
export type ResizeFilter = "bicubic" | "bilinear" | "lanczos";

/**
 * Which direction is resized first. `pillow13` goes by the sizes, as Pillow 13 does; up to 12.3
 * it was the width (`horizontal_first`).
 */
export type PassOrder = "pillow13" | "horizontal_first" | "vertical_first";

const PRECISION_BITS = 32 - 8 - 2;

function bicubicKernel(x: number): number {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

function triangleKernel(x: number): number {
  x = Math.abs(x);
  return x < 1 ? 1 - x : 0;
}

function sinc(x: number): number {
  if (x === 0) return 1;
  x *= Math.PI;
  return Math.sin(x) / x;
}

function lanczosKernel(x: number): number {
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

const FILTERS = {
  bicubic: { kernel: bicubicKernel, support: 2 },
  bilinear: { kernel: triangleKernel, support: 1 },
  lanczos: { kernel: lanczosKernel, support: 3 },
} as const;

/** For each output position, the first input position and the weights from there on. */
interface Weights {
  first: Int32Array; // [out]
  count: Int32Array; // [out]
  weights: Int32Array; // [out, stride]
  stride: number;
}

function integerWeights(inSize: number, outSize: number, filter: ResizeFilter): Weights {
  const { kernel, support: kernelSupport } = FILTERS[filter];
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const support = kernelSupport * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(outSize), count = new Int32Array(outSize);
  const weights = new Int32Array(outSize * stride);
  const exact = new Float64Array(stride);
  const inverse = 1 / filterScale;
  for (let out = 0; out < outSize; out++) {
    const center = (out + 0.5) * scale;
    const from = Math.max(Math.trunc(center - support + 0.5), 0);
    const to = Math.min(Math.trunc(center + support + 0.5), inSize);
    let sum = 0;
    for (let i = 0; i < to - from; i++) {
      exact[i] = kernel((i + from - center + 0.5) * inverse);
      sum += exact[i];
    }
    for (let i = 0; i < to - from; i++) {
      const weight = (sum === 0 ? exact[i] : exact[i] / sum) * (1 << PRECISION_BITS);
      weights[out * stride + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    first[out] = from;
    count[out] = to - from;
  }
  return { first, count, weights, stride };
}

function clip8(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

const HALF = 1 << (PRECISION_BITS - 1);

function resizeWidth(image: RgbImage, outWidth: number, filter: ResizeFilter): RgbImage {
  const { first, count, weights, stride } = integerWeights(image.width, outWidth, filter);
  const { width, height, data } = image;
  const out = new Uint8Array(outWidth * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < outWidth; x++) {
      let red = HALF, green = HALF, blue = HALF;
      let from = (y * width + first[x]) * 3;
      const base = x * stride;
      for (let i = 0; i < count[x]; i++, from += 3) {
        const weight = weights[base + i];
        red += data[from] * weight;
        green += data[from + 1] * weight;
        blue += data[from + 2] * weight;
      }
      const to = (y * outWidth + x) * 3;
      out[to] = clip8(red);
      out[to + 1] = clip8(green);
      out[to + 2] = clip8(blue);
    }
  }
  return { width: outWidth, height, data: out };
}

function resizeHeight(image: RgbImage, outHeight: number, filter: ResizeFilter): RgbImage {
  const { first, count, weights, stride } = integerWeights(image.height, outHeight, filter);
  const { width, data } = image;
  const row = width * 3;
  const out = new Uint8Array(row * outHeight);
  const sums = new Int32Array(row);
  for (let y = 0; y < outHeight; y++) {
    sums.fill(HALF);
    for (let i = 0; i < count[y]; i++) {
      const weight = weights[y * stride + i];
      const from = (first[y] + i) * row;
      for (let x = 0; x < row; x++) sums[x] += data[from + x] * weight;
    }
    for (let x = 0; x < row; x++) out[y * row + x] = clip8(sums[x]);
  }
  return { width, height: outHeight, data: out };
}

/**
 * Resizes as Pillow does.
 *
 * @param image 8-bit RGB
 * @param width of the result, at least 1
 * @param height of the result, at least 1
 * @param filter kernel (default: bicubic)
 * @param order of the two passes (default: Pillow 13's rule)
 * @returns a new image, or `image` itself if the size does not change
 * @throws {RangeError} if a size is not a positive integer
 */
export function pillowResize(
  image: RgbImage,
  width: number,
  height: number,
  filter: ResizeFilter = "bicubic",
  order: PassOrder = "pillow13",
): RgbImage {
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new RangeError(`Cannot resize to ${width} x ${height}: want positive whole numbers`);
  }
  const rowsLost = image.height - height, columnsLost = image.width - width;
  const verticalFirst = order === "vertical_first" ||
    (order === "pillow13" && rowsLost > 0 && rowsLost > 2 * columnsLost);
  let result = image;
  if (verticalFirst && height !== result.height) result = resizeHeight(result, height, filter);
  if (width !== result.width) result = resizeWidth(result, width, filter);
  if (height !== result.height) result = resizeHeight(result, height, filter);
  return result;
}
