/**
 * Outlines of the shapes, and which share of each pixel an outline covers.
 *
 * @module
 */
import type { FreeShape } from "./drawing_scene.ts";

/** Corners in order, x and y in turn. */
type Outline = Float64Array;

const CIRCLE_CORNERS = 40;

/** A regular figure: corners at equal angles from the top, at radii that repeat. */
function around(corners: number, radii: readonly number[]): number[] {
  return Array.from({ length: corners }, (_, i) => {
    const angle = 2 * Math.PI * i / corners, radius = radii[i % radii.length];
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  }).flat();
}

/** A cross of two bars; thickness is half a bar's. */
function cross(t: number): number[] {
  // deno-fmt-ignore
  return [-t, -1, t, -1, t, -t, 1, -t, 1, t, t, t, t, 1, -t, 1, -t, t, -1, t, -1, -t, -t, -t];
}

/** The corners for radius 1, before they are rotated. */
function corners({ shape, form }: FreeShape): number[] {
  switch (shape) {
    case "circle":
      return around(CIRCLE_CORNERS, [0.97]);
    case "square":
      return [-0.86, -0.86, 0.86, -0.86, 0.86, 0.86, -0.86, 0.86];
    case "triangle": {
      // Some are right-angled, some stand on their corner, the others differ in width.
      if (form < 0.05) return [-0.8, -0.9, -0.8, 0.8, 0.9, 0.8];
      const width = 0.75 + 0.3 * ((form * 7) % 1), up = form < 0.95 ? 1 : -1;
      return [0, -up, width, 0.8 * up, -width, 0.8 * up];
    }
    case "cross":
      return cross(0.17 + 0.21 * ((form * 5) % 1));
    case "star":
      return around(10, [1.1, 1.1 * (0.36 + 0.18 * form)]);
  }
}

/** Some crosses are made of diagonal bars. */
function rotationOf({ shape, form, rotation }: FreeShape): number {
  return shape === "cross" && form > 0.95 ? rotation + Math.PI / 4 : rotation;
}

/**
 * The outline in pixels.
 *
 * @param size side of the picture in pixels
 * @param scale 1: the whole shape; less: what lies within its border
 */
export function outlineOf(shape: FreeShape, size: number, scale: number): Outline {
  const radius = shape.radius * size * scale;
  const wide = Math.sqrt(shape.aspect), tall = 1 / wide;
  const angle = rotationOf(shape), cos = Math.cos(angle), sin = Math.sin(angle);
  const outline = Float64Array.from(corners(shape));
  for (let i = 0; i < outline.length; i += 2) {
    const x = outline[i] * wide * radius, y = outline[i + 1] * tall * radius;
    outline[i] = shape.centerX * size + x * cos - y * sin;
    outline[i + 1] = shape.centerY * size + x * sin + y * cos;
  }
  return outline;
}

/** Lines of samples in a pixel, where edges are smooth. */
const LINES = 3;

/**
 * Adds the share of each pixel that an outline covers, line by line (even-odd rule).
 *
 * @param cover [size, size], zeros
 * @param smooth false: a pixel is covered if its centre is
 */
export function addCover(
  outline: Outline,
  cover: Float32Array,
  { size, smooth }: { readonly size: number; readonly smooth: boolean },
): void {
  const lines = smooth ? LINES : 1;
  const crossings: number[] = [];
  let top = size, bottom = 0;
  for (let i = 1; i < outline.length; i += 2) {
    top = Math.min(top, outline[i]);
    bottom = Math.max(bottom, outline[i]);
  }
  const first = Math.max(0, Math.floor(top)) * lines;
  const end = Math.min(size, Math.ceil(bottom)) * lines;
  for (let line = first; line < end; line++) {
    const y = (line + 0.5) / lines;
    crossings.length = 0;
    for (let i = 0, j = outline.length - 2; i < outline.length; j = i, i += 2) {
      const fromY = outline[j + 1], toY = outline[i + 1];
      if (fromY > y === toY > y) continue;
      crossings.push(
        outline[j] + (outline[i] - outline[j]) * (y - fromY) / (toY - fromY),
      );
    }
    crossings.sort((a, b) => a - b);
    const row = Math.floor(line / lines) * size;
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const [from, to] = smooth
        ? [crossings[i], crossings[i + 1]]
        : [Math.ceil(crossings[i] - 0.5), Math.ceil(crossings[i + 1] - 0.5)];
      const left = Math.max(from, 0), right = Math.min(to, size);
      for (let x = Math.floor(left); x < right; x++) {
        cover[row + x] += Math.max(0, Math.min(x + 1, right) - Math.max(x, left)) / lines;
      }
    }
  }
}
