/**
 * `builtin:box_iou`: intersection over union of the answer's boxes and the row's (`boxes`, `bbox` or
 * `answer`), each `[x1, y1, x2, y2]` in the same units. Several boxes are paired greedily by the largest
 * overlap, and the sum is divided by the larger count, so that missing and additional boxes cost.
 * Null if the row has no box.
 *
 * In a completion, a box is four numbers in brackets or parentheses, or two points:
 * `[x1, y1, x2, y2]`, `(x1, y1), (x2, y2)`. Numbers may have an exponent.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";

type Box = [number, number, number, number];

const NUMBER = String.raw`\s*([-+−]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*`;
const POINT = `${NUMBER},${NUMBER}`;
const BOX = new RegExp(
  `[[(]${POINT},${POINT}[\\])]|[[(]${POINT}[\\])]\\s*,?\\s*[[(]${POINT}[\\])]`,
  "gi",
);

/** A box of four numbers, its corners in order; null if one is not finite. */
function boxOf(numbers: readonly number[]): Box | null {
  if (numbers.length !== 4 || !numbers.every(Number.isFinite)) return null;
  const [x1, y1, x2, y2] = numbers;
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

function boxesOf(value: unknown): Box[] {
  if (Array.isArray(value) && value.length === 4 && value.every((n) => typeof n === "number")) {
    return [boxOf(value)].filter((box) => box !== null);
  }
  if (Array.isArray(value)) return value.flatMap(boxesOf).slice(0, 200);
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
  return [...text.matchAll(BOX)].map(([, ...groups]) =>
    boxOf(
      groups.filter((group) => group !== undefined).map((group) => Number(group.replace("−", "-"))),
    )
  ).filter((box) => box !== null).slice(0, 200);
}

function area([x1, y1, x2, y2]: Box): number {
  return (x2 - x1) * (y2 - y1);
}

/** Overlap of two boxes: 0 to 1. */
function iou(a: Box, b: Box): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (area(a) + area(b) - both);
}

/** Overlap of the boxes: 0 to 1. */
export function boxIou(context: RewardContext): (number | null)[] {
  const wanted = column(context, "boxes", "bbox", "answer", "solution");
  return context.completions.map((completion, i) => {
    const right = boxesOf(wanted?.[i]);
    if (right.length === 0) return null;
    const given = boxesOf(answerOrAll(completion));
    const pairs = given.flatMap((a, g) => right.map((b, r) => ({ g, r, overlap: iou(a, b) })))
      .sort((a, b) => b.overlap - a.overlap);
    const usedGiven = new Set<number>();
    const usedRight = new Set<number>();
    let sum = 0;
    for (const { g, r, overlap } of pairs) {
      if (usedGiven.has(g) || usedRight.has(r)) continue;
      usedGiven.add(g);
      usedRight.add(r);
      sum += overlap;
    }
    return sum / Math.max(given.length, right.length);
  });
}
