/**
 * `builtin:exact_match`: 1 if the answer (between `<answer>` tags, or the whole completion if there
 * are none) equals the row's `answer` (or `solution`, or `answers`), else 0; outer white space and case do not
 * matter, nor how accents are encoded. Null if the row has no answer.
 *
 * An `answer` that is a list holds several right ones.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { isExactMatch } from "../src/evaluate/metrics/exact_match.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";

/** The answer, letter for letter: 1 or 0. */
export function exactMatch(context: RewardContext): (number | null)[] {
  const answers = column(context, "answer", "solution", "answers");
  return context.completions.map((completion, i) => {
    const right = answers?.[i];
    if (right === null || right === undefined) return null;
    const given = answerOrAll(completion);
    const accepted = Array.isArray(right) ? right : [right];
    return accepted.some((one) => isExactMatch(given, String(one))) ? 1 : 0;
  });
}
