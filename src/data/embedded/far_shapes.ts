/**
 * Pictures with one small shape far away: as large as the model sees them, its kind can hardly be
 * told; in full resolution it can. The model has to ask for the part that shows it
 * (`builtin:look_closer`).
 *
 * @module
 */
import { RandomStream } from "../../random.ts";
import type { RgbImage } from "../../image/rgb_image.ts";
import type { Cell, Row } from "../rows/row.ts";
import {
  COLORS,
  drawScene,
  pick,
  PICTURE_SIZE,
  type PlaceName,
  PLACES,
  type ShapeName,
  SHAPES,
} from "./embedded_shapes_picture.ts";
import { encodePng } from "./embedded_shapes_png.ts";

/** Name of the data set, and of the model that has had some SFT on it. */
export const BUILTIN_FAR_SHAPES = "builtin:far_shapes";

/** A picture is so many of the embedded drawings wide and high. */
const PARTS = 3;
/** Side of a picture in pixels. */
export const FAR_PICTURE_SIZE: number = PARTS * PICTURE_SIZE;

/** The column and row of each place. */
const CELLS: Readonly<Record<PlaceName, readonly [column: number, row: number]>> = {
  left: [0, 1],
  right: [2, 1],
  top: [1, 0],
  bottom: [1, 2],
  center: [1, 1],
};

const WORDINGS = ["What shape is it?", "Which shape is this?", "Name the shape."] as const;

/** A picture of a far shape with its question. */
export interface FarShape {
  readonly image: RgbImage;
  readonly question: string;
  readonly shape: ShapeName;
  readonly place: PlaceName;
}

/** The part of a picture that a place names, full size. */
export function partAt(image: RgbImage, place: PlaceName): RgbImage {
  const [column, row] = CELLS[place];
  const data = new Uint8Array(PICTURE_SIZE * PICTURE_SIZE * 3);
  for (let y = 0; y < PICTURE_SIZE; y++) {
    const from = ((row * PICTURE_SIZE + y) * image.width + column * PICTURE_SIZE) * 3;
    data.set(image.data.subarray(from, from + PICTURE_SIZE * 3), y * PICTURE_SIZE * 3);
  }
  return { width: PICTURE_SIZE, height: PICTURE_SIZE, data };
}

function drawFar(random: RandomStream): FarShape {
  const place = pick(PLACES, random), shape = pick(SHAPES, random);
  const background = random.nextInt(40);
  const near = drawScene({
    shapes: [{
      shape,
      color: pick(COLORS, random),
      centerX: 16 + (random.nextInt(9) - 4) / 4,
      centerY: 16 + (random.nextInt(9) - 4) / 4,
      radius: 5.75 + random.nextInt(6) / 4,
    }],
    place: "center",
    background,
  });
  const size = FAR_PICTURE_SIZE;
  const data = new Uint8Array(size * size * 3).fill(background);
  const [column, row] = CELLS[place];
  for (let y = 0; y < PICTURE_SIZE; y++) {
    const line = near.data.subarray(y * PICTURE_SIZE * 3, (y + 1) * PICTURE_SIZE * 3);
    data.set(line, ((row * PICTURE_SIZE + y) * size + column * PICTURE_SIZE) * 3);
  }
  const image = { width: size, height: size, data };
  return { image, question: pick(WORDINGS, random), shape, place };
}

/**
 * Draws pictures of far shapes.
 *
 * @param split each has pictures of its own
 * @param count how many; default 3000, of the test split 300
 */
export function farShapes(
  split: "train" | "test",
  count: number = split === "train" ? 3000 : 300,
): FarShape[] {
  const random = new RandomStream(42, `far shapes/${split}`);
  return Array.from({ length: count }, () => drawFar(random));
}

/** Rows of `dataset_format: grpo`. */
export function farShapesGrpoRows(pictures: readonly FarShape[]): Row[] {
  return pictures.map(({ image, question, shape, place }) => ({
    images: [encodePng(image)],
    prompt: question,
    answer: shape,
    place,
  }));
}

/** Of the conversations of {@linkcode farShapesChatRows}, how many look at a part. */
const LOOK_SHARE = 0.5;
/** Of those that look, how many look at the right part; the others at any. */
const RIGHT_SHARE = 0.4;

/**
 * Conversations for SFT: some answer at once, others look at a part first, which is not always the
 * one that shows the shape. The answer is always right.
 */
export function farShapesChatRows(pictures: readonly FarShape[]): Row[] {
  const random = new RandomStream(42, "far shapes/looks");
  return pictures.map(({ image, question, shape, place }): Row => {
    const user = (picture: RgbImage, text: string): Cell => ({
      role: "user",
      content: [
        { type: "image", image: encodePng(picture) },
        ...(text === "" ? [] : [{ type: "text", text }]),
      ],
    });
    const messages = [user(image, question)];
    if (random.nextFloat() < LOOK_SHARE) {
      const asked = random.nextFloat() < RIGHT_SHARE ? place : pick(PLACES, random);
      messages.push({ role: "assistant", content: `look ${asked}` });
      messages.push(user(partAt(image, asked), ""));
    }
    messages.push({ role: "assistant", content: shape });
    return { messages };
  });
}
