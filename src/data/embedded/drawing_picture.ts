/**
 * Drawing a scene of the embedded data set: shapes on a ground, then light, blur and noise.
 *
 * @module
 */
import type { RgbImage } from "../../image/rgb_image.ts";
import type { Rgb } from "./drawing_colors.ts";
import { addCover, outlineOf } from "./drawing_outline.ts";
import type { DrawingScene, FreeShape } from "./drawing_scene.ts";

/** Paints a shape, or what lies within its border, over the pixels. */
function paint(
  pixels: Float32Array,
  shape: FreeShape,
  { size, smooth }: DrawingScene,
  { shade, scale }: { readonly shade: Rgb; readonly scale: number },
): void {
  const cover = new Float32Array(size * size);
  addCover(outlineOf(shape, size, scale), cover, { size, smooth });
  for (let i = 0, at = 0; i < cover.length; i++, at += 3) {
    const share = cover[i];
    if (share === 0) continue;
    pixels[at] += (shade[0] - pixels[at]) * share;
    pixels[at + 1] += (shade[1] - pixels[at + 1]) * share;
    pixels[at + 2] += (shade[2] - pixels[at + 2]) * share;
  }
}

/** Brightness that changes evenly over the picture. */
function light(pixels: Float32Array, { size, light: [right, down] }: DrawingScene): void {
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const factor = 1 + right * (2 * x / size - 1) + down * (2 * y / size - 1);
      const at = (y * size + x) * 3;
      for (let channel = 0; channel < 3; channel++) pixels[at + channel] *= factor;
    }
  }
}

/** The mean of 3 × 3 pixels, the edge's repeated: along the lines, then along the columns. */
function blur(pixels: Float32Array, size: number): void {
  for (const step of [3, size * 3]) {
    const source = pixels.slice();
    for (let y = 0, at = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const place = step === 3 ? x : y;
        const back = place === 0 ? 0 : step, ahead = place === size - 1 ? 0 : step;
        for (const end = at + 3; at < end; at++) {
          pixels[at] = (source[at - back] + source[at] + source[at + ahead]) / 3;
        }
      }
    }
  }
}

/**
 * Adds noise, the sum of two even ones. A generator of its own (Marsaglia, "Xorshift RNGs", 2003):
 * there are tens of thousands of numbers in a picture.
 */
function addNoise(pixels: Float32Array, { noise, seed }: DrawingScene): void {
  let state = seed | 1;
  for (let at = 0; at < pixels.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    pixels[at] += noise * (((state & 0xffff) + (state >>> 16)) / 65535 - 1);
  }
}

/** Draws a scene, [size, size, 3]. */
export function drawDrawing(scene: DrawingScene): RgbImage {
  const { size, shapes, ground } = scene;
  const pixels = new Float32Array(size * size * 3);
  for (let at = 0; at < pixels.length; at++) pixels[at] = ground[at % 3];
  for (const shape of shapes) {
    const { border, shade } = shape;
    if (border === null) paint(pixels, shape, scene, { shade, scale: 1 });
    else {
      paint(pixels, shape, scene, { shade: border.shade, scale: 1 });
      paint(pixels, shape, scene, { shade, scale: 1 - border.width });
    }
  }
  if (scene.light.some((change) => change !== 0)) light(pixels, scene);
  if (scene.blurred) blur(pixels, size);
  if (scene.noise > 0) addNoise(pixels, scene);
  const data = new Uint8Array(pixels.length);
  for (let at = 0; at < pixels.length; at++) {
    data[at] = Math.max(0, Math.min(255, Math.round(pixels[at])));
  }
  return { width: size, height: size, data };
}
