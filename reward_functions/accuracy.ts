/**
 * `builtin:accuracy`: 1 where the text between `<answer>` tags is the row's answer, 0.5 where it
 * contains it, else 0; case and outer white space aside.
 *
 * The row's answer is the column `answer` (or `solution`). Where it names a choice ("C", "Answer: C",
 * "The correct choice: option (c)"), the letter a to d is what is looked for.
 *
 * Options: `builtin:accuracy?partial=0.25` sets the partial credit; `?partial=0` gives none.
 *
 * Source: `accuracy_reward` of NanoVLM-Lab's `rlvlm/reward_functions.py`, with these bugs mended:
 * - it takes the column of answers for one answer: `str(list)`, the same for every row. Here each
 *   row has its own;
 * - without a letter after "answer" it takes the last of a, b, c, d anywhere, so "12 cm" becomes "c"
 *   and "cabbage" becomes "a". Here a letter counts where it stands alone and no word follows;
 * - "answer because" becomes "b". Here the letter after "answer" must end there;
 * - an empty answer is contained in every text, which gives 0.5. Here it gives 0, as None does.
 * As there, the partial credit looks for the answer anywhere: "b" is found in "about".
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerText, column } from "./shared/completion_text.ts";
import { PYTHON_SPACE, strip } from "./shared/python_text.ts";

const SPACE = `[${PYTHON_SPACE}]*`;
const AFTER_ANSWER = new RegExp(`answer${SPACE}(?:is|:)?${SPACE}([a-d])(?![a-z])`);
const ALONE = new RegExp(`(?<![a-z0-9])[a-d](?![a-z0-9])(?![${PYTHON_SPACE}]+[a-z0-9])`, "g");

/** What a completion must answer: a choice's letter, or the whole answer. */
function expectedAnswer(answer: unknown): string {
  const text = strip(String(answer)).toLowerCase();
  return AFTER_ANSWER.exec(text)?.[1] ?? text.match(ALONE)?.at(-1) ?? text;
}

/** The row's answer between answer tags: 1, partial credit, or 0; null without the column. */
export function accuracy(context: RewardContext): (number | null)[] {
  const partial = Number(new URL(import.meta.url).searchParams.get("partial") ?? 0.5);
  const answers = column(context, "answer", "solution");
  return context.completions.map((completion, i) => {
    if (answers === undefined) return null;
    if (answers[i] === null || answers[i] === undefined) return 0;
    const expected = expectedAnswer(answers[i]);
    const given = answerText(completion);
    if (given === null || expected === "") return 0;
    const extracted = strip(given).toLowerCase();
    if (extracted === expected) return 1;
    return extracted.includes(expected) ? partial : 0;
  });
}
