/**
 * The embedded data set of `train` without a config: drawings of shapes at any place, of any size
 * and on any ground, with questions. A picture is drawn when it is read.
 *
 * @module
 */
import { RandomStream } from "../../random.ts";
import { RowSkipped } from "../data_error.ts";
import type { DataFolder, Row } from "../rows/row.ts";
import { drawDrawing } from "./drawing_picture.ts";
import { type DrawingScene, easyDrawing, randomDrawing } from "./drawing_scene.ts";
import { pick } from "./embedded_shapes_picture.ts";
import { encodePng } from "./embedded_shapes_png.ts";
import { askAboutDrawing, type ShapeQuestion } from "./embedded_shapes_questions.ts";

/** Name of the drawings of shapes at any place, of any size and on any ground. */
export const BUILTIN_DRAWINGS = "builtin:drawings";

/** A scene and its questions. */
export interface Drawing {
  readonly scene: DrawingScene;
  readonly questions: readonly ShapeQuestion[];
}

/** How much to draw. */
export interface DrawingsOptions {
  /** Default 40000. */
  readonly trainPictures?: number;
  /** Default 300. */
  readonly testPictures?: number;
  /** Default 42. */
  readonly seed?: number;
}

/** Shares of easy and of plain drawings in training; there are none among the held-out ones. */
const EASY_SHARE = 0.3, PLAIN_SHARE = 0.3;

/** The drawings of a split; `train` never shows shapes as `test` does. */
export function drawings(
  split: "train" | "test",
  { trainPictures = 40_000, testPictures = 300, seed = 42 }: DrawingsOptions = {},
): Drawing[] {
  const count = split === "train" ? trainPictures : testPictures;
  const random = new RandomStream(seed, `drawings/${split}`);
  return Array.from({ length: count }, () => {
    const kind = split === "test" ? 1 : random.nextFloat();
    const scene = kind < EASY_SHARE
      ? easyDrawing(random)
      : randomDrawing(random, kind < EASY_SHARE + PLAIN_SHARE);
    return { scene, questions: askAboutDrawing(scene, random) };
  });
}

/** Pictures that are remembered: the questions about one are read one after the other. */
const REMEMBERED = 64;

/** zlib's fastest level: noise is hardly smaller at a higher one. */
const PNG_LEVEL = 1;

/** The pictures of drawings as files `0.png`, `1.png`, …: drawn when they are read. */
export function drawingsFolder(drawings: readonly Drawing[]): DataFolder {
  const known = new Map<string, Uint8Array>();
  return {
    read(path: string): Promise<Uint8Array> {
      let bytes = known.get(path);
      if (bytes === undefined) {
        const drawing = drawings[Number.parseInt(path)];
        if (drawing === undefined) {
          return Promise.reject(new RowSkipped(`there is no drawing ${path}`));
        }
        bytes = encodePng(drawDrawing(drawing.scene), PNG_LEVEL);
        known.set(path, bytes);
        if (known.size > REMEMBERED) known.delete(known.keys().next().value!);
      }
      return Promise.resolve(bytes);
    },
  };
}

const imagesOf = (index: number) => [`${index}.png`];

/** Rows of `dataset_format: vqa`: `images`, `texts` and `answer_type`. */
export function drawingVqaRows(drawings: readonly Drawing[]): Row[] {
  return drawings.map(({ questions }, i): Row => ({
    images: imagesOf(i),
    texts: questions.map(({ question, answer }) => ({ user: question, assistant: answer })),
    answer_type: questions.map(({ kind }) => kind),
  }));
}

/** Rows of `dataset_format: preference`: one per question; rejected is another possible answer. */
export function drawingPreferenceRows(drawings: readonly Drawing[], seed = 42): Row[] {
  const random = new RandomStream(seed, "drawings/rejected");
  return drawings.flatMap(({ questions }, i): Row[] =>
    questions.map(({ kind, question, answer, wrongAnswers }) => ({
      images: imagesOf(i),
      prompt: question,
      chosen: answer,
      rejected: pick(wrongAnswers, random),
      answer_type: kind,
    }))
  );
}

/** Rows of `dataset_format: grpo`: one per question; `answer` reaches the reward functions. */
export function drawingGrpoRows(drawings: readonly Drawing[]): Row[] {
  return drawings.flatMap(({ questions }, i): Row[] =>
    questions.map(({ kind, question, answer }) => ({
      images: imagesOf(i),
      prompt: question,
      answer,
      answer_type: kind,
    }))
  );
}
