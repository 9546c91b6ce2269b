/**
 * Changes of a picture that keep what it shows: crop, mirror, rotation, colours, blur, JPEG. The size
 * stays, so that a row has as many image tokens as without them.
 *
 * @module
 */
import { pillowResize } from "../pillow_resize.ts";
import type { RgbImage } from "../rgb_image.ts";
import type { AugmentationPlan } from "./plan.ts";

/** Writes pixels as a JPEG file and reads it. */
export type JpegRoundTrip = (image: RgbImage, quality: number) => Promise<RgbImage>;

const clip = (value: number) => value < 0 ? 0 : value > 255 ? 255 : Math.round(value);

/** A part of a picture, resized to the whole picture's size (bicubic, as Pillow). */
function cropped(image: RgbImage, { x, y, size }: NonNullable<AugmentationPlan["crop"]>): RgbImage {
  const width = Math.max(1, Math.round(image.width * size));
  const height = Math.max(1, Math.round(image.height * size));
  const left = Math.min(image.width - width, Math.round(image.width * x));
  const top = Math.min(image.height - height, Math.round(image.height * y));
  const data = new Uint8Array(3 * width * height);
  for (let row = 0; row < height; row++) {
    const from = 3 * ((top + row) * image.width + left);
    data.set(image.data.subarray(from, from + 3 * width), 3 * row * width);
  }
  return pillowResize({ width, height, data }, image.width, image.height);
}

/** The mirror image, left and right exchanged. */
function flipped({ width, height, data }: RgbImage): RgbImage {
  const out = new Uint8Array(data.length);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const to = 3 * (row * width + column), from = 3 * (row * width + width - 1 - column);
      out.set(data.subarray(from, from + 3), to);
    }
  }
  return { width, height, data: out };
}

/** Turned about its centre, bilinear; pixels from outside are those of the nearest edge. */
function rotated({ width, height, data }: RgbImage, degrees: number): RgbImage {
  const angle = degrees * Math.PI / 180, cos = Math.cos(angle), sin = Math.sin(angle);
  const [middleX, middleY] = [(width - 1) / 2, (height - 1) / 2];
  const inside = (value: number, last: number) => Math.min(last, Math.max(0, value));
  const out = new Uint8Array(data.length);
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const dx = column - middleX, dy = row - middleY;
      const x = inside(middleX + cos * dx - sin * dy, width - 1);
      const y = inside(middleY + sin * dx + cos * dy, height - 1);
      const x0 = Math.floor(x), y0 = Math.floor(y);
      const x1 = Math.min(x0 + 1, width - 1), y1 = Math.min(y0 + 1, height - 1);
      const fx = x - x0, fy = y - y0;
      for (let c = 0; c < 3; c++, to++) {
        const at = (px: number, py: number) => data[3 * (py * width + px) + c];
        const above = at(x0, y0) * (1 - fx) + at(x1, y0) * fx;
        const below = at(x0, y1) * (1 - fx) + at(x1, y1) * fx;
        out[to] = clip(above * (1 - fy) + below * fy);
      }
    }
  }
  return { width, height, data: out };
}

/** Luma, ITU-R BT.601: what Pillow's `L` has. */
const luma = (data: Uint8Array, i: number) =>
  0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2];

/**
 * Brightness, then contrast about the mean luma, then saturation about each pixel's luma, as Pillow's
 * `ImageEnhance` does one after the other; rounded once.
 */
function recoloured(
  { width, height, data }: RgbImage,
  { brightness, contrast, saturation }: AugmentationPlan,
): RgbImage {
  const out = new Uint8Array(data.length);
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += luma(data, i);
  const mean = brightness * sum / (data.length / 3);
  for (let i = 0; i < data.length; i += 3) {
    const grey = mean + contrast * (brightness * luma(data, i) - mean);
    for (let c = i; c < i + 3; c++) {
      const level = mean + contrast * (brightness * data[c] - mean);
      out[c] = clip(grey + saturation * (level - grey));
    }
  }
  return { width, height, data: out };
}

/** A Gaussian blur, cut off at three standard deviations; edges repeat their pixels. */
function blurred({ width, height, data }: RgbImage, sigma: number): RgbImage {
  const radius = Math.ceil(3 * sigma);
  const weights = Array.from(
    { length: 2 * radius + 1 },
    (_, i) => Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)),
  );
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  /** One pass along a side: `length` pixels `step` apart on each of `lines` lines. */
  const pass = (from: ArrayLike<number>, length: number, lines: number, along: boolean) => {
    const to = new Float32Array(from.length);
    const index = (line: number, place: number) =>
      3 * (along ? line * width + place : place * width + line);
    for (let line = 0; line < lines; line++) {
      for (let place = 0; place < length; place++) {
        const target = index(line, place);
        for (let k = -radius; k <= radius; k++) {
          const near = index(line, Math.min(length - 1, Math.max(0, place + k)));
          const weight = weights[k + radius] / total;
          for (let c = 0; c < 3; c++) to[target + c] += weight * from[near + c];
        }
      }
    }
    return to;
  };
  const both = pass(pass(data, width, height, true), height, width, false);
  return { width, height, data: Uint8Array.from(both, clip) };
}

/**
 * Changes a picture as planned.
 *
 * @param image is not changed
 * @param plan what to do
 * @param roundTrip for the JPEG of the plan
 */
export async function augment(
  image: RgbImage,
  plan: AugmentationPlan,
  roundTrip: JpegRoundTrip,
): Promise<RgbImage> {
  let result = image;
  if (plan.crop !== null) result = cropped(result, plan.crop);
  if (plan.flip) result = flipped(result);
  if (plan.rotate !== 0) result = rotated(result, plan.rotate);
  if (plan.brightness !== 1 || plan.contrast !== 1 || plan.saturation !== 1) {
    result = recoloured(result, plan);
  }
  // A narrower Gaussian has no weight beside its middle.
  if (plan.blur > 0.1) result = blurred(result, plan.blur);
  if (plan.jpegQuality !== null) result = await roundTrip(result, plan.jpegQuality);
  return result;
}
