/**
 * Overlap of boxes at 0.5, the metric of RefCOCO: whether a box covers the wanted one well enough.
 *
 * A box is the first `[x1, y1, x2, y2]` of a text: left, top, right and bottom. IoU is the area of
 * the intersection over that of the union. A text without a box has the box [0, 0, 0, 0].
 *
 * Source: Yu et al., Modeling Context in Referring Expressions (2016); values as
 * `tasks/refcoco/utils_rec.py` of lmms-eval. Two empty boxes have IoU 0 here; the reference fails.
 *
 * @module
 */

import { parseFloatAsPython, PYTHON_SPACE } from "./python_text.ts";

/** Left, top, right, bottom. */
export type Box = readonly [x1: number, y1: number, x2: number, y2: number];

const NUMBER = String.raw`(-?\p{Nd}+(?:\.\p{Nd}+)?)`;
const SPACE = `[${PYTHON_SPACE}]*`;
const BOX = new RegExp(
  String.raw`\[${SPACE}${NUMBER},${SPACE}${NUMBER},${SPACE}${NUMBER},${SPACE}${NUMBER}${SPACE}\]`,
  "u",
);
const ENOUGH = 0.5;

/** The first box of a text. */
export function parseBox(text: string): Box {
  const [, x1, y1, x2, y2] = BOX.exec(text) ?? ["", "0", "0", "0", "0"];
  const [left, top, right, bottom] = [x1, y1, x2, y2].map((text) => parseFloatAsPython(text)!);
  return [left, top, right, bottom];
}

/** Intersection over union of two boxes; 0 if both are empty. */
export function boxIou(a: Box, b: Box): number {
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const area = (box: Box) => (box[2] - box[0]) * (box[3] - box[1]);
  const intersection = width * height;
  const union = area(a) + area(b) - intersection;
  return union === 0 ? 0 : intersection / union;
}

/**
 * Whether the prediction's box overlaps an accepted box by half.
 *
 * @param answers texts with a box each
 * @returns 0 or 1
 */
export function boxIou50(prediction: string, answers: readonly string[]): number {
  const box = parseBox(prediction);
  return answers.some((answer) => boxIou(parseBox(answer), box) >= ENOUGH) ? 1 : 0;
}
