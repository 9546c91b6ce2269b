/**
 * The embedded data set: small pictures of shapes, drawn by code from a seed, with questions. It is
 * what `train` uses with no config: nothing is downloaded.
 *
 * @module
 */
import { RandomStream } from "../../random.ts";
import type { RgbImage } from "../../image/rgb_image.ts";
import { drawScene, pick, randomScene, type ShapeScene } from "./embedded_shapes_picture.ts";
import { encodePng } from "./embedded_shapes_png.ts";
import { askAbout, type ShapeQuestion } from "./embedded_shapes_questions.ts";
import type { Row } from "../rows/row.ts";

/** A picture and its questions. */
export interface ShapePicture {
  scene: ShapeScene;
  image: RgbImage;
  questions: ShapeQuestion[];
}

/** How much to draw. */
export interface EmbeddedShapesOptions {
  /** Default 3000. */
  trainPictures?: number;
  /** Default 300. */
  testPictures?: number;
  /** Questions per picture, 1 to 3; default 3. */
  turns?: number;
  /** Default 42. */
  seed?: number;
}

/**
 * Draws the pictures and asks the questions. No held-out picture shows a scene of the training set,
 * and each split depends on the seed and on its own size alone.
 *
 * @throws {RangeError} if `turns` is not 1 to 3
 *
 * @example The same seed draws the same pictures
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedShapes } from "./embedded_shapes.ts";
 *
 * const options = { trainPictures: 2, testPictures: 1, seed: 7 };
 * assertEquals(embeddedShapes(options), embeddedShapes(options));
 * assertEquals(embeddedShapes(options).train[0].image.width, 32);
 * ```
 */
export function embeddedShapes(
  options: EmbeddedShapesOptions = {},
): { train: ShapePicture[]; test: ShapePicture[] } {
  const { trainPictures = 3000, testPictures = 300, turns = 3, seed = 42 } = options;
  if (!(Number.isInteger(turns) && turns >= 1 && turns <= 3)) {
    throw new RangeError(`Cannot ask ${turns} questions about a picture: want 1, 2 or 3`);
  }
  // Held-out scenes come first, so that the training set's size does not change them.
  const seen = new Set<string>();
  const test = drawSplit(testPictures, turns, new RandomStream(seed, "shapes/test"), seen);
  const train = drawSplit(trainPictures, turns, new RandomStream(seed, "shapes/train"), seen);
  return { train, test };
}

function drawSplit(
  count: number,
  turns: number,
  random: RandomStream,
  seen: Set<string>,
): ShapePicture[] {
  const pictures: ShapePicture[] = [];
  while (pictures.length < count) {
    const scene = randomScene(random);
    const key = JSON.stringify(scene.shapes); // the ground may differ, the shapes must
    if (seen.has(key)) continue;
    seen.add(key);
    pictures.push({ scene, image: drawScene(scene), questions: askAbout(scene, turns, random) });
  }
  return pictures;
}

/**
 * Rows of `dataset_format: vqa`: `images` (PNG bytes), `texts` and `answer_type`.
 *
 * @param splitTurns one row per question; then `answer_type` is a word, else one word per turn
 */
export function shapesVqaRows(pictures: readonly ShapePicture[], splitTurns = false): Row[] {
  return pictures.flatMap(({ image, questions }): Row[] => {
    const images = [encodePng(image)];
    const turn = ({ question, answer }: ShapeQuestion) => ({ user: question, assistant: answer });
    if (!splitTurns) {
      return [{
        images,
        texts: questions.map(turn),
        answer_type: questions.map(({ kind }) => kind),
      }];
    }
    return questions.map((question) => ({
      images,
      texts: [turn(question)],
      answer_type: question.kind,
    }));
  });
}

/** Rows of `dataset_format: preference`: one per question; rejected is another possible answer. */
export function shapesPreferenceRows(pictures: readonly ShapePicture[], seed = 42): Row[] {
  const random = new RandomStream(seed, "shapes/rejected");
  return pictures.flatMap(({ image, questions }): Row[] => {
    const images = [encodePng(image)];
    return questions.map(({ kind, question, answer, wrongAnswers }) => ({
      images,
      prompt: question,
      chosen: answer,
      rejected: pick(wrongAnswers, random),
      answer_type: kind,
    }));
  });
}

/** Rows of `dataset_format: grpo`: one per question; `answer` reaches the reward functions. */
export function shapesGrpoRows(pictures: readonly ShapePicture[]): Row[] {
  return pictures.flatMap(({ image, questions }): Row[] => {
    const images = [encodePng(image)];
    return questions.map(({ kind, question, answer }) => ({
      images,
      prompt: question,
      answer,
      answer_type: kind,
    }));
  });
}
