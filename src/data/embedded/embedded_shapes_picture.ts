/**
 * Drawing the pictures of the embedded data set: a few coloured shapes on a dark ground.
 *
 * @module
 */
import type { RandomStream } from "../../random.ts";
import type { RgbImage } from "../../image/rgb_image.ts";

/** Side of a picture in pixels. */
export const PICTURE_SIZE = 32;

/** The shapes that are drawn. */
export const SHAPES = ["circle", "square", "triangle", "cross", "star"] as const;
/** The colours that shapes have. */
export const COLORS = ["red", "green", "blue", "yellow", "purple", "white"] as const;
/** The place of a single shape. */
export const PLACES = ["left", "right", "top", "bottom", "center"] as const;

/** One of {@link SHAPES}. */
export type ShapeName = typeof SHAPES[number];
/** One of {@link COLORS}. */
export type ColorName = typeof COLORS[number];
/** One of {@link PLACES}. */
export type PlaceName = typeof PLACES[number];

/** One shape of a picture; lengths in pixels. */
export interface DrawnShape {
  shape: ShapeName;
  color: ColorName;
  centerX: number;
  centerY: number;
  radius: number;
}

/** The contents of a picture. */
export interface ShapeScene {
  shapes: DrawnShape[];
  /** Of the only shape; null if there are several. */
  place: PlaceName | null;
  /** Grey level of the ground, 0 to 255. */
  background: number;
}

const RGB: Readonly<Record<ColorName, readonly [number, number, number]>> = {
  red: [225, 45, 45],
  green: [45, 190, 60],
  blue: [60, 90, 235],
  yellow: [235, 215, 50],
  purple: [170, 60, 200],
  white: [240, 240, 240],
};

/** Centres in pixels: a single shape covers 2 × 2 patches of 8 pixels in every place. */
const PLACE_CENTERS: Readonly<Record<PlaceName, readonly [number, number]>> = {
  left: [8, 16],
  right: [24, 16],
  top: [16, 8],
  bottom: [16, 24],
  center: [16, 16],
};

const CORNERS: readonly (readonly [number, number])[] = [[8, 8], [24, 8], [8, 24], [24, 24]];

/** Share of pictures with one shape; the others have two, three or four, equally often. */
const SINGLE_SHARE = 0.6;

/** One of a list, all equally likely. */
export function pick<T>(list: readonly T[], random: RandomStream): T {
  return list[random.nextInt(list.length)];
}

/**
 * Draws a random scene. Several shapes stand in different corners and share their shape or their colour.
 */
export function randomScene(random: RandomStream): ShapeScene {
  const background = random.nextInt(40);
  const at = (
    [x, y]: readonly [number, number],
    shape: ShapeName,
    color: ColorName,
  ): DrawnShape => ({
    shape,
    color,
    // Quarter pixels, so that a scene's numbers are short and exact.
    centerX: x + (random.nextInt(9) - 4) / 4,
    centerY: y + (random.nextInt(9) - 4) / 4,
    radius: 5.75 + random.nextInt(6) / 4,
  });
  if (random.nextFloat() < SINGLE_SHARE) {
    const place = pick(PLACES, random);
    const shape = at(PLACE_CENTERS[place], pick(SHAPES, random), pick(COLORS, random));
    return { shapes: [shape], place, background };
  }
  const corners = [...CORNERS];
  const count = 2 + random.nextInt(3);
  const sharesShape = random.nextInt(2) === 0;
  const shared = { shape: pick(SHAPES, random), color: pick(COLORS, random) };
  const shapes = Array.from({ length: count }, () => {
    const [corner] = corners.splice(random.nextInt(corners.length), 1);
    return sharesShape
      ? at(corner, shared.shape, pick(COLORS, random))
      : at(corner, pick(SHAPES, random), shared.color);
  });
  return { shapes, place: null, background };
}

/** The star's outline: five points, from the top, for radius 1. */
const STAR = Array.from({ length: 10 }, (_, i): [number, number] => {
  const angle = Math.PI * i / 5, radius = i % 2 === 0 ? 1.1 : 0.45;
  return [radius * Math.sin(angle), -radius * Math.cos(angle)];
});

/** Whether a point, relative to the centre and in radii, lies in the shape. */
function isInside(shape: ShapeName, x: number, y: number): boolean {
  switch (shape) {
    case "circle":
      return x * x + y * y <= 1;
    case "square":
      return Math.abs(x) <= 0.88 && Math.abs(y) <= 0.88;
    case "triangle": // apex on top
      return y <= 0.85 && Math.abs(x) <= (y + 1) * 0.55;
    case "cross":
      return Math.min(Math.abs(x), Math.abs(y)) <= 0.32 &&
        Math.max(Math.abs(x), Math.abs(y)) <= 1;
    case "star": { // even-odd rule
      let inside = false;
      for (let i = 0, j = STAR.length - 1; i < STAR.length; j = i++) {
        const [xi, yi] = STAR[i], [xj, yj] = STAR[j];
        if (yi > y !== yj > y && x < (xj - xi) * (y - yi) / (yj - yi) + xi) inside = !inside;
      }
      return inside;
    }
  }
}

/** Samples per side of a pixel, so that edges are smooth. */
const SAMPLES = 3;

/** Draws a scene, [PICTURE_SIZE, PICTURE_SIZE, 3]. */
export function drawScene(scene: ShapeScene): RgbImage {
  const size = PICTURE_SIZE;
  const data = new Uint8Array(size * size * 3).fill(scene.background);
  for (const { shape, color, centerX, centerY, radius } of scene.shapes) {
    const reach = radius * 1.15;
    const left = Math.max(Math.floor(centerX - reach), 0);
    const right = Math.min(Math.ceil(centerX + reach), size);
    const top = Math.max(Math.floor(centerY - reach), 0);
    const bottom = Math.min(Math.ceil(centerY + reach), size);
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        let hits = 0;
        for (let s = 0; s < SAMPLES * SAMPLES; s++) {
          const sampleX = x + (s % SAMPLES + 0.5) / SAMPLES;
          const sampleY = y + (Math.floor(s / SAMPLES) + 0.5) / SAMPLES;
          if (isInside(shape, (sampleX - centerX) / radius, (sampleY - centerY) / radius)) hits++;
        }
        const cover = hits / (SAMPLES * SAMPLES), pixel = (y * size + x) * 3;
        for (let channel = 0; channel < 3; channel++) {
          const below = data[pixel + channel];
          data[pixel + channel] = Math.round(below + (RGB[color][channel] - below) * cover);
        }
      }
    }
  }
  return { width: size, height: size, data };
}
