/**
 * What is done to a picture, drawn from a seed and the picture's place in the run.
 *
 * @module
 */
import { RandomStream } from "../../random.ts";

/** How far pictures may be changed (`dataset.augmentation`); 0 and null: not at all. */
export interface AugmentationOptions {
  /** Largest share of each side that a crop leaves out, 0 to 0.5. */
  readonly crop: number;
  /** Probability of a mirror image. */
  readonly flip: number;
  /** Largest rotation to either side, degrees. */
  readonly rotate: number;
  /** Largest relative change of brightness, contrast and saturation. */
  readonly colour: number;
  /** Largest standard deviation of a Gaussian blur, pixels. */
  readonly blur: number;
  /** Lowest quality of a JPEG that the picture is written as and read from; the highest is 95. */
  readonly jpegQuality: number | null;
}

/** What is done to one picture, in this order. */
export interface AugmentationPlan {
  /** Part of the picture that is kept, in shares of its sides; null: all. */
  readonly crop: { readonly x: number; readonly y: number; readonly size: number } | null;
  readonly flip: boolean;
  /** Degrees, counterclockwise. */
  readonly rotate: number;
  /** Factors; 1: no change. */
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  /** Standard deviation, pixels. */
  readonly blur: number;
  /** null: no JPEG. */
  readonly jpegQuality: number | null;
}

/** The place of a picture in a run. */
export interface PicturePlaceInRun {
  readonly seed: number;
  readonly epoch: number;
  readonly row: number;
  /** Number of the picture within the row. */
  readonly picture: number;
}

/** Whether any change is asked for. */
export function augments({ jpegQuality, ...shares }: AugmentationOptions): boolean {
  return jpegQuality !== null || Object.values(shares).some((share) => share > 0);
}

/**
 * The plan of a picture: always the same for the same place, whatever was drawn before, so that a
 * resumed run sees the same pictures.
 *
 * @param options how far
 * @param place seed, epoch, row, picture
 * @param mayFlip false if a text of the row says left or right
 */
export function augmentationPlan(
  options: AugmentationOptions,
  { seed, epoch, row, picture }: PicturePlaceInRun,
  mayFlip: boolean,
): AugmentationPlan {
  const random = new RandomStream(seed, `augment ${epoch} ${row} ${picture}`);
  // Every number is drawn, so that one option does not change what another one gives.
  const [cut, x, y, flip, rotate, brightness, contrast, saturation, blur, quality] = Array.from(
    { length: 10 },
    () => random.nextFloat(),
  );
  const around = (share: number, draw: number) => 1 + share * (2 * draw - 1);
  const size = 1 - options.crop * cut;
  return {
    crop: size === 1 ? null : { x: x * (1 - size), y: y * (1 - size), size },
    flip: mayFlip && flip < options.flip,
    rotate: options.rotate * (2 * rotate - 1),
    brightness: around(options.colour, brightness),
    contrast: around(options.colour, contrast),
    saturation: around(options.colour, saturation),
    blur: options.blur * blur,
    jpegQuality: options.jpegQuality === null
      ? null
      : Math.round(options.jpegQuality + quality * (95 - options.jpegQuality)),
  };
}

/** Words that a mirror image would make wrong. */
const SIDES = /\b(left|right)(most|ward|wards|side|hand|handed)?\b|\b(counter|anti)?-?clockwise\b/i;

/** Whether no text says left or right, in English. */
export function mayFlip(texts: readonly string[]): boolean {
  return !texts.some((text) => SIDES.test(text));
}
