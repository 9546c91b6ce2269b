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
  type PlaceName,
  PLACES,
  type ShapeName,
  SHAPES,
} from "./embedded_shapes_picture.ts";

/** What questions ask about. */
export interface AskedScene {
  readonly shapes: readonly { readonly shape: ShapeName; readonly color: ColorName }[];
  /** Of the only shape; null if there are several, or if it lies between two places. */
  readonly place: PlaceName | null;
}

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

/** One question of each kind. */
export const EXAMPLE_QUESTIONS = [
  WORDINGS.shape[0],
  WORDINGS.color[0],
  WORDINGS.where[0],
  WORDINGS.count[0],
  WORDINGS.there[0].replace("%", "red shape"),
] as const;

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

function askCount(scene: AskedScene, random: RandomStream): ShapeQuestion {
  return ask("count", WORDINGS.count, String(scene.shapes.length), COUNTS, random);
}

/**
 * A yes-or-no question whose answer is yes half of the time.
 *
 * @param ofShapes draws whether it asks for a shape, not a colour; default: half of the time
 */
function askThere(
  scene: AskedScene,
  random: RandomStream,
  ofShapes: () => boolean = () => random.nextInt(2) === 0,
): ShapeQuestion {
  const isThere = random.nextInt(2) === 0;
  const choose = <T>(all: readonly T[], present: ReadonlySet<T>): T =>
    pick(all.filter((thing) => present.has(thing) === isThere), random);
  const shapes = new Set<ShapeName>(scene.shapes.map(({ shape }) => shape));
  const colors = new Set<ColorName>(scene.shapes.map(({ color }) => color));
  const thing = ofShapes() ? choose(SHAPES, shapes) : `${choose(COLORS, colors)} shape`;
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
export function askAbout(scene: AskedScene, turns: number, random: RandomStream): ShapeQuestion[] {
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

/** Chances of further questions about a drawing of one shape, so that answers are balanced. */
const DRAWING_COUNT_CHANCE = 0.25;
const DRAWING_THERE_CHANCE = 0.35;
/** Colours are learnt within a few hundred steps: less is asked of them. */
const DRAWING_COLOR_CHANCE = 0.35;
/** Share of shapes, not colours, among the things that are asked for by "Is there …?". */
const DRAWING_SHAPES_SHARE = 0.75;

/** The attribute that all shapes share; if they share both, one of them. */
function askShared(scene: AskedScene, random: RandomStream): ShapeQuestion[] {
  const [first] = scene.shapes;
  const sharesShape = scene.shapes.every(({ shape }) => shape === first.shape);
  const sharesColor = scene.shapes.every(({ color }) => color === first.color);
  if (sharesShape && (!sharesColor || random.nextInt(2) === 0)) {
    return [ask("shape", WORDINGS.shapes, first.shape, SHAPES, random)];
  }
  const asksColor = sharesColor && random.nextInt(2) === 0;
  return asksColor ? [ask("color", WORDINGS.colors, first.color, COLORS, random)] : [];
}

/** One to five different questions about a drawing, in random order. */
export function askAboutDrawing(scene: AskedScene, random: RandomStream): ShapeQuestion[] {
  const [first] = scene.shapes;
  const questions: ShapeQuestion[] = [];
  let there: number;
  if (scene.shapes.length === 1) {
    questions.push(ask("shape", WORDINGS.shape, first.shape, SHAPES, random));
    if (random.nextFloat() < DRAWING_COLOR_CHANCE) {
      questions.push(ask("color", WORDINGS.color, first.color, COLORS, random));
    }
    if (scene.place !== null) {
      questions.push(ask("where", WORDINGS.where, scene.place, PLACES, random));
    }
    if (random.nextFloat() < DRAWING_COUNT_CHANCE) questions.push(askCount(scene, random));
    there = random.nextFloat() < DRAWING_THERE_CHANCE ? 1 : 0;
  } else {
    questions.push(...askShared(scene, random), askCount(scene, random));
    there = questions.length === 1 ? 2 : 1;
  }
  while (there > 0) {
    const ofShapes = () => random.nextFloat() < DRAWING_SHAPES_SHARE;
    const asked = askThere(scene, random, ofShapes);
    if (questions.some(({ question }) => question === asked.question)) continue;
    questions.push(asked);
    there--;
  }
  return Array.from(shuffledIndices(questions.length, random), (index) => questions[index]);
}
