/**
 * Scenes of the embedded data set: one to four coloured shapes at any place, of many sizes, a
 * little rotated, on dark, light and tinted grounds.
 *
 * Lengths are shares of the picture's side, so that a scene can be drawn at any size.
 *
 * @module
 */
import { type RandomStream, shuffledIndices } from "../../random.ts";
import { colorDistance, randomGround, randomShade, type Rgb } from "./drawing_colors.ts";
import {
  type ColorName,
  COLORS,
  pick,
  type PlaceName,
  PLACES,
  type ShapeName,
  SHAPES,
} from "./embedded_shapes_picture.ts";

/** One shape of a drawing. */
export interface FreeShape {
  readonly shape: ShapeName;
  readonly color: ColorName;
  readonly shade: Rgb;
  readonly centerX: number;
  readonly centerY: number;
  readonly radius: number;
  /** Radians, clockwise. */
  readonly rotation: number;
  /** Width over height. */
  readonly aspect: number;
  /** What else the outline depends on, 0 to 1: the thickness of a cross, the kind of a triangle. */
  readonly form: number;
  /** A line around it; null: none. */
  readonly border: { readonly shade: Rgb; readonly width: number } | null;
}

/** What a drawing shows, and how it is drawn. */
export interface DrawingScene {
  readonly shapes: readonly FreeShape[];
  /** Of the only shape; null if there are several, or if it lies between two places. */
  readonly place: PlaceName | null;
  readonly ground: Rgb;
  /** Side of the picture in pixels. */
  readonly size: number;
  /** Whether edges are smooth, as most programs draw them. */
  readonly smooth: boolean;
  /** Change of brightness from the centre to the right and the lower edge. */
  readonly light: readonly [number, number];
  /** Largest change of a pixel by noise. */
  readonly noise: number;
  /** Whether it is a little out of focus. */
  readonly blurred: boolean;
  /** Of the noise. */
  readonly seed: number;
}

/** Sides of pictures in pixels. */
const SIZES = [48, 64, 80, 96] as const;
/** Share of pictures with one shape; the others have two, three or four, equally often. */
const SINGLE_SHARE = 0.58;
/** Least distance of a shade from its ground. */
const CONTRAST = 95;
/** Radii of a single shape, and of one of several. */
const SINGLE_RADIUS = [0.1, 0.44] as const;
const SEVERAL_RADIUS = [0.085, 0.23] as const;

/** Distance of a centre from the middle below which it is in the centre. */
const CENTER_REACH = 0.12;
/** Width of the borders between places, where no place is asked for. */
const PLACE_BORDER = 0.05;

/**
 * The place of a centre.
 *
 * @returns null between two places
 *
 * @example A shape near the left edge
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { placeOf } from "./drawing_scene.ts";
 *
 * assertEquals(placeOf(0.2, 0.45), "left");
 * assertEquals(placeOf(0.2, 0.2), null);
 * ```
 */
export function placeOf(centerX: number, centerY: number): PlaceName | null {
  const x = centerX - 0.5, y = centerY - 0.5;
  const along = Math.max(Math.abs(x), Math.abs(y)), across = Math.min(Math.abs(x), Math.abs(y));
  if (along < CENTER_REACH - PLACE_BORDER / 2) return "center";
  if (along < CENTER_REACH + PLACE_BORDER / 2 || along - across < PLACE_BORDER) return null;
  if (Math.abs(x) > Math.abs(y)) return x < 0 ? "left" : "right";
  return y < 0 ? "top" : "bottom";
}

/** A number between two, their logarithm uniform. */
function logBetween([from, to]: readonly [number, number], random: RandomStream): number {
  return from * (to / from) ** random.nextFloat();
}

/** Where a shape lies. */
interface Spot {
  readonly centerX: number;
  readonly centerY: number;
  readonly radius: number;
}

/** How far an outline reaches from its centre, in radii, with rotation and aspect. */
const REACH = 1.2;

function randomSpot(radius: number, random: RandomStream): Spot {
  const margin = Math.min(0.5, radius * REACH);
  const along = () => margin + (1 - 2 * margin) * random.nextFloat();
  return { centerX: along(), centerY: along(), radius };
}

/** A spot for the only shape: the places are equally likely, and a sixth lies anywhere. */
function singleSpot(random: RandomStream): Spot {
  const wanted = random.nextInt(6) === 5 ? null : pick(PLACES, random);
  for (;;) {
    const spot = randomSpot(logBetween(SINGLE_RADIUS, random), random);
    if (wanted === null || placeOf(spot.centerX, spot.centerY) === wanted) return spot;
  }
}

/** Spots that do not touch. */
function severalSpots(count: number, random: RandomStream): Spot[] {
  for (;;) {
    const spots: Spot[] = [];
    for (let tries = 0; spots.length < count && tries < 40; tries++) {
      const spot = randomSpot(logBetween(SEVERAL_RADIUS, random), random);
      const isFree = spots.every((other) =>
        Math.hypot(spot.centerX - other.centerX, spot.centerY - other.centerY) >
          1.12 * (spot.radius + other.radius) + 0.02
      );
      if (isFree) spots.push(spot);
    }
    if (spots.length === count) return spots;
  }
}

/** Names of the shapes and colours: alike in one of them, or all different at random. */
function randomNames(
  count: number,
  random: RandomStream,
): { shape: ShapeName; color: ColorName }[] {
  const shared = { shape: pick(SHAPES, random), color: pick(COLORS, random) };
  if (count === 1) return [shared];
  const kind = random.nextInt(3);
  return Array.from({ length: count }, () => ({
    shape: kind === 0 ? shared.shape : pick(SHAPES, random),
    color: kind === 1 ? shared.color : pick(COLORS, random),
  }));
}

/** Largest rotation: a quarter of a right angle would make a square a diamond. */
const MAX_ROTATION = Math.PI / 12;

function randomShape(
  names: { shape: ShapeName; color: ColorName },
  spot: Spot,
  ground: Rgb,
  random: RandomStream,
): FreeShape {
  let shade = randomShade(names.color, random);
  for (let tries = 0; tries < 50 && colorDistance(shade, ground) < CONTRAST; tries++) {
    shade = randomShade(names.color, random);
  }
  const isTurned = random.nextFloat() < 0.6;
  const borderShade: Rgb = colorDistance(ground, [0, 0, 0]) > 2 * CONTRAST
    ? [20, 20, 20]
    : [shade[0] >> 1, shade[1] >> 1, shade[2] >> 1];
  return {
    ...names,
    shade,
    ...spot,
    rotation: isTurned ? MAX_ROTATION * (2 * random.nextFloat() - 1) : 0,
    aspect: 0.93 + 0.14 * random.nextFloat(),
    form: random.nextFloat(),
    border: random.nextFloat() < 0.08
      ? { shade: borderShade, width: 0.06 + 0.08 * random.nextFloat() }
      : null,
  };
}

/** Whether a shade of every colour stands out from the ground. */
function standsOut(colors: Iterable<ColorName>, ground: Rgb, random: RandomStream): boolean {
  for (const color of colors) {
    let isClear = false;
    for (let tries = 0; tries < 8 && !isClear; tries++) {
      isClear = colorDistance(randomShade(color, random), ground) >= CONTRAST;
    }
    if (!isClear) return false;
  }
  return true;
}

/** What is drawn of a scene beside its shapes. */
type Surroundings = Omit<DrawingScene, "shapes" | "place" | "ground">;

/** Smooth edges, even light, no noise. */
const PLAIN: Surroundings = {
  ...{ size: SIZES[0], smooth: true, light: [0, 0], noise: 0, blurred: false, seed: 0 },
};

function randomSurroundings(random: RandomStream): Surroundings {
  const isLit = random.nextFloat() < 0.4;
  const tilt = () => isLit ? 0.3 * (random.nextFloat() - 0.5) : 0;
  return {
    size: pick(SIZES, random),
    smooth: random.nextFloat() < 0.5,
    light: [tilt(), tilt()],
    noise: random.nextFloat() < 0.5 ? 18 * random.nextFloat() : 0,
    blurred: random.nextFloat() < 0.2,
    seed: random.nextUint32(),
  };
}

/** A shape as one draws it first: upright, as wide as tall, of the usual proportions. */
function upright(shape: FreeShape): FreeShape {
  return { ...shape, rotation: 0, form: 0.5, aspect: 1, border: null };
}

/**
 * A random scene. Two shapes of a scene never touch, and each stands out from the ground.
 *
 * @param plain whether shapes stand upright and nothing disturbs the picture
 */
export function randomDrawing(random: RandomStream, plain = false): DrawingScene {
  const count = randomCount(random);
  const names = randomNames(count, random);
  let ground: Rgb;
  do ground = randomGround(random); while (
    !standsOut(new Set(names.map(({ color }) => color)), ground, random)
  );
  const spots = count === 1 ? [singleSpot(random)] : severalSpots(count, random);
  const drawn = names.map((name, i) => randomShape(name, spots[i], ground, random));
  return {
    shapes: plain ? drawn.map(upright) : drawn,
    place: count === 1 ? placeOf(spots[0].centerX, spots[0].centerY) : null,
    ground,
    ...plain ? PLAIN : randomSurroundings(random),
  };
}

function randomCount(random: RandomStream): number {
  return random.nextFloat() < SINGLE_SHARE ? 1 : 2 + random.nextInt(3);
}

/** Centres of the places of an easy scene. */
const EASY_PLACES: Readonly<Record<PlaceName, readonly [number, number]>> = {
  left: [0.25, 0.5],
  right: [0.75, 0.5],
  top: [0.5, 0.25],
  bottom: [0.5, 0.75],
  center: [0.5, 0.5],
};
const EASY_CORNERS: readonly (readonly [number, number])[] = [
  [0.25, 0.25],
  [0.75, 0.25],
  [0.25, 0.75],
  [0.75, 0.75],
];

/**
 * An easy scene: upright shapes of about one size near nine points, on a ground that is nearly
 * black or nearly white. A model that sees some of them learns to look at pictures many times
 * sooner; what it learns there holds for the others.
 */
export function easyDrawing(random: RandomStream): DrawingScene {
  const count = randomCount(random);
  const names = randomNames(count, random);
  const hasWhite = names.some(({ color }) => color === "white");
  const grey = random.nextInt(40), isDark = hasWhite || random.nextFloat() < 0.35;
  const level = isDark ? grey : 255 - grey, ground: Rgb = [level, level, level];
  const place = count === 1 ? pick(PLACES, random) : null;
  const points = place === null
    ? Array.from(shuffledIndices(4, random), (corner) => EASY_CORNERS[corner])
    : [EASY_PLACES[place]];
  const shapes = names.map((name, i) => {
    const jitter = () => 0.06 * (random.nextFloat() - 0.5);
    const [x, y] = points[i];
    const radius = 0.18 + 0.04 * random.nextFloat();
    const spot = { centerX: x + jitter(), centerY: y + jitter(), radius };
    return upright(randomShape(name, spot, ground, random));
  });
  return { shapes, place, ground, ...PLAIN };
}
