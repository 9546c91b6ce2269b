/**
 * Questions with one-word answers about the pictures of the embedded data set.
 *
 * @module
 */
import { type RandomStream, shuffledIndices } from "../../random.ts";
import {
  type ColorName,
  COLORS,
  pick,
  PLACES,
  type ShapeName,
  SHAPES,
  type ShapeScene,
} from "./embedded_shapes_picture.ts";

/** What a question asks for. */
export type QuestionKind = "shape" | "color" | "where" | "count" | "there";

/** A question about a picture. */
export interface ShapeQuestion {
  kind: QuestionKind;
  question: string;
  /** One word. */
  answer: string;
  /** The other answers that the question could have. */
  wrongAnswers: string[];
}

const COUNTS = ["1", "2", "3", "4"] as const;

/** Wordings for one shape, and for several. */
const WORDINGS = {
  shape: ["What shape is it?", "Which shape is this?", "Name the shape."],
  shapes: ["What shape are they?", "Which shape are these?", "Name the shape of all."],
  color: ["What color is it?", "Which color is the shape?", "Name the color."],
  colors: ["What color are they?", "Which color are the shapes?", "Name the color of all."],
  where: ["Where is it?", "Where is the shape?", "Which part is it in?"],
  count: ["How many shapes are there?", "How many are there?", "Count the shapes."],
  there: ["Is there a %?", "Can you see a %?"],
} as const;

/** All questions; the embedded tokenizer is trained on them. */
export function everyQuestion(): string[] {
  const { there, ...fixed } = WORDINGS;
  const things = [...SHAPES, ...COLORS.map((color) => `${color} shape`)];
  return [
    ...Object.values(fixed).flat(),
    ...there.flatMap((wording) => things.map((thing) => wording.replace("%", thing))),
  ];
}

/** All answers. */
export function everyAnswer(): string[] {
  return [...SHAPES, ...COLORS, ...PLACES, ...COUNTS, "yes", "no"];
}

function ask(
  kind: QuestionKind,
  wordings: readonly string[],
  answer: string,
  answers: readonly string[],
  random: RandomStream,
): ShapeQuestion {
  return {
    kind,
    question: pick(wordings, random),
    answer,
    wrongAnswers: answers.filter((other) => other !== answer),
  };
}

function askCount(scene: ShapeScene, random: RandomStream): ShapeQuestion {
  return ask("count", WORDINGS.count, String(scene.shapes.length), COUNTS, random);
}

/** A yes-or-no question whose answer is yes half of the time. */
function askThere(scene: ShapeScene, random: RandomStream): ShapeQuestion {
  const isThere = random.nextInt(2) === 0;
  const choose = <T>(all: readonly T[], present: ReadonlySet<T>): T =>
    pick(all.filter((thing) => present.has(thing) === isThere), random);
  const shapes = new Set<ShapeName>(scene.shapes.map(({ shape }) => shape));
  const colors = new Set<ColorName>(scene.shapes.map(({ color }) => color));
  const thing = random.nextInt(2) === 0
    ? choose(SHAPES, shapes)
    : `${choose(COLORS, colors)} shape`;
  const wordings = WORDINGS.there.map((wording) => wording.replace("%", thing));
  return ask("there", wordings, isThere ? "yes" : "no", ["yes", "no"], random);
}

/** Chances that a picture of one shape gets these questions too, so that counts are balanced. */
const SINGLE_COUNT_CHANCE = 0.22;
const SINGLE_THERE_CHANCE = 0.2;

/**
 * Different questions about a scene, in random order.
 *
 * @param turns how many, 1 to 3
 */
export function askAbout(scene: ShapeScene, turns: number, random: RandomStream): ShapeQuestion[] {
  const [first] = scene.shapes;
  const questions: ShapeQuestion[] = [];
  if (scene.place !== null) {
    const ordinary = [
      ask("shape", WORDINGS.shape, first.shape, SHAPES, random),
      ask("color", WORDINGS.color, first.color, COLORS, random),
      ask("where", WORDINGS.where, scene.place, PLACES, random),
    ];
    for (const index of shuffledIndices(3, random)) questions.push(ordinary[index]);
    if (random.nextFloat() < SINGLE_THERE_CHANCE) questions.unshift(askThere(scene, random));
    if (random.nextFloat() < SINGLE_COUNT_CHANCE) questions.unshift(askCount(scene, random));
  } else {
    const sharesShape = scene.shapes.every(({ shape }) => shape === first.shape);
    const sharesColor = scene.shapes.every(({ color }) => color === first.color);
    questions.push(askCount(scene, random), askThere(scene, random));
    if (sharesShape && (!sharesColor || random.nextInt(2) === 0)) {
      questions.push(ask("shape", WORDINGS.shapes, first.shape, SHAPES, random));
    } else {
      questions.push(ask("color", WORDINGS.colors, first.color, COLORS, random));
    }
  }
  const kept = questions.slice(0, 3);
  return [...shuffledIndices(kept.length, random)].slice(0, turns).map((index) => kept[index]);
}
