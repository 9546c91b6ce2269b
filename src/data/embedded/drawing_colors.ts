/**
 * Colours of the drawings: each name stands for a range of shades, and a shape's shade differs
 * clearly from its ground.
 *
 * @module
 */
import type { RandomStream } from "../../random.ts";
import type { ColorName } from "./embedded_shapes_picture.ts";

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/** Hue in degrees, saturation and value 0 to 1; each from … to. */
interface Shades {
  readonly hue: readonly [number, number];
  readonly saturation: readonly [number, number];
  readonly value: readonly [number, number];
}

const SHADES: Readonly<Record<ColorName, Shades>> = {
  red: { hue: [-10, 10], saturation: [0.65, 1], value: [0.6, 1] },
  green: { hue: [90, 152], saturation: [0.45, 1], value: [0.38, 1] },
  blue: { hue: [204, 246], saturation: [0.55, 1], value: [0.5, 1] },
  yellow: { hue: [46, 64], saturation: [0.55, 1], value: [0.8, 1] },
  purple: { hue: [268, 304], saturation: [0.4, 1], value: [0.4, 0.95] },
  white: { hue: [0, 360], saturation: [0, 0.06], value: [0.9, 1] },
};

/** HSV to RGB. Smith, "Color gamut transform pairs", SIGGRAPH 1978. */
function hsvToRgb(hue: number, saturation: number, value: number): Rgb {
  const channel = (offset: number): number => {
    const sector = (offset + hue / 60 + 6) % 6;
    const share = Math.max(0, Math.min(sector, 4 - sector, 1));
    return Math.round(255 * value * (1 - saturation * share));
  };
  return [channel(5), channel(3), channel(1)];
}

function between([from, to]: readonly [number, number], random: RandomStream): number {
  return from + (to - from) * random.nextFloat();
}

/** A shade of a colour. */
export function randomShade(color: ColorName, random: RandomStream): Rgb {
  const { hue, saturation, value } = SHADES[color];
  return hsvToRgb(between(hue, random), between(saturation, random), between(value, random));
}

/** A ground: dark, light, grey or of a pale colour. */
export function randomGround(random: RandomStream): Rgb {
  const kind = random.nextFloat();
  if (kind < 0.15) {
    return hsvToRgb(
      360 * random.nextFloat(),
      between([0.1, 0.5], random),
      between([0.3, 1], random),
    );
  }
  const grey = kind < 0.45
    ? between([0, 70], random)
    : kind < 0.85
    ? between([185, 255], random)
    : between([70, 185], random);
  // Most grounds are no exact grey; pure black and pure white are common in drawings.
  if (random.nextFloat() < 0.2) return grey < 128 ? [0, 0, 0] : [255, 255, 255];
  const tint = () => Math.round(Math.min(255, Math.max(0, grey + 24 * (random.nextFloat() - 0.5))));
  return [tint(), tint(), tint()];
}

/** How far apart two colours are: the length of their difference, 0 to 441. */
export function colorDistance(a: Rgb, b: Rgb): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}
