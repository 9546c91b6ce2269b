/**
 * `builtin:numeric_closeness`: how close the last number of the answer is to the row's `answer` (or
 * `solution`): 1 − |given − right| / (tolerance · |right|), between 0 and 1. 0 if the answer has no
 * number; null if the row's answer is not a number (a date is not).
 *
 * Numbers may have thousands separators (1,250; 1,00,000; 10'000), a sign, a unit, a fraction (1/2,
 * 2 1/2, ½), an exponent (1e3, 1.5 × 10^3), a percent sign, or a word such as million. A hyphen in
 * a range, a date or a word is no sign: "40-45" ends with 45. Numbers that the text denies ("not 7")
 * do not count. Spellings with two readings, e.g. "(10,200)" and "25%", count as the closer one.
 *
 * Options: `builtin:numeric_closeness?tolerance=0.1` (default 0.1: a tenth off scores 0).
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";
import { isDate, lastNumberReadings } from "./shared/numbers.ts";

function closeness(given: number, right: number, tolerance: number): number {
  const distance = Math.abs(given - right);
  if (distance <= 1e-12 * Math.abs(right)) return 1;
  return Math.max(0, 1 - distance / (tolerance * (Math.abs(right) || 1)));
}

/** Closeness of a number, 0 to 1. */
export function numericCloseness(context: RewardContext): (number | null)[] {
  const tolerance = Number(new URL(import.meta.url).searchParams.get("tolerance") ?? 0.1);
  const answers = column(context, "answer", "solution");
  return context.completions.map((completion, i) => {
    const wanted = String(answers?.[i] ?? "");
    const right = isDate(wanted) ? [] : lastNumberReadings(wanted);
    if (right.length === 0) return null;
    const given = lastNumberReadings(answerOrAll(completion));
    const scores = given.flatMap((one) => right.map((other) => closeness(one, other, tolerance)));
    return Math.max(0, ...scores);
  });
}
