/**
 * Relaxed accuracy, the metric of ChartQA: a number may be off by 5 %, other text must be equal.
 *
 * 1 if |p − a| / |a| ≤ 0.05 when both are numbers and a is not 0; else 1 if the lower-case texts are
 * equal. A text that ends in % is a hundredth of its number. White space counts in the comparison of
 * texts.
 *
 * Source: Methani et al., PlotQA (2020), and Masry et al., ChartQA (2022), section 5.1; values as
 * `relaxed_correctness` of lmms-eval's `tasks/chartqa/utils.py`.
 *
 * @module
 */
import { parseFloatAsPython } from "./python_text.ts";

/** Largest relative error of a number. */
const TOLERANCE = 0.05;

function numberOf(text: string): number | null {
  if (!text.endsWith("%")) return parseFloatAsPython(text);
  const value = parseFloatAsPython(text.replace(/%+$/, ""));
  return value === null ? null : value / 100;
}

function isWithinTolerance(prediction: string, answer: string): boolean {
  const given = numberOf(prediction), wanted = numberOf(answer);
  if (given === null || wanted === null || wanted === 0) {
    return prediction.toLowerCase() === answer.toLowerCase();
  }
  return Math.abs(given - wanted) / Math.abs(wanted) <= TOLERANCE;
}

/**
 * Whether a prediction is one of the answers within the tolerance.
 *
 * @param answers at least one; the best counts
 * @returns 0 or 1
 */
export function relaxedAccuracy(prediction: string, answers: readonly string[]): number {
  return answers.some((answer) => isWithinTolerance(prediction, answer)) ? 1 : 0;
}
