/**
 * `builtin:numeric_closeness`: how near the last number of the answer comes to the row's `answer`
 * (or `solution`): 1 − |given − right| / (tolerance · |right|), between 0 and 1. With no number in the
 * answer 0; null where the row's answer is no number.
 *
 * Numbers may have thousands separators, a sign, a fraction, an exponent or a percent sign.
 *
 * Options: `builtin:numeric_closeness?tolerance=0.1` (default 0.1: a tenth off scores 0).
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";

const NUMBER = /[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?%?|[-+−]?\.\d+/gi;

/** The last number in a text, or null. */
function lastNumber(text: string): number | null {
  const found = text.match(NUMBER)?.at(-1);
  if (found === undefined) return null;
  const plain = found.replaceAll(",", "").replace("−", "-");
  const value = plain.endsWith("%") ? Number(plain.slice(0, -1)) / 100 : Number(plain);
  return Number.isFinite(value) ? value : null;
}

/** Nearness of a number, 0 to 1. */
export function numericCloseness(context: RewardContext): (number | null)[] {
  const tolerance = Number(new URL(import.meta.url).searchParams.get("tolerance") ?? 0.1);
  const answers = column(context, "answer", "solution");
  return context.completions.map((completion, i) => {
    const right = lastNumber(String(answers?.[i] ?? ""));
    if (right === null) return null;
    const given = lastNumber(answerOrAll(completion));
    if (given === null) return 0;
    if (given === right) return 1;
    const scale = tolerance * (Math.abs(right) || 1);
    return Math.max(0, 1 - Math.abs(given - right) / scale);
  });
}
