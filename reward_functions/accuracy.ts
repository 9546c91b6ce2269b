/**
 * `builtin:accuracy`: 1 if the text between `<answer>` tags is the row's answer, 0.5 if it contains
 * it, else 0; case and outer white space do not matter.
 *
 * The row's answer is the column `answer` (or `solution`). If it names a choice, the letter is
 * expected: "C", "(c)", "Answer: C", "The correct choice: option (c)", "C. blue". A letter at the
 * end of other words does not name a choice: "Vitamin C" and "37 C" are expected as they are.
 *
 * Options: `builtin:accuracy?partial=0.25` sets the partial credit; `?partial=0` gives none.
 *
 * Source: `accuracy_reward` of NanoVLM-Lab's `rlvlm/reward_functions.py`, with these bugs mended:
 * - it takes the column of answers for one answer: `str(list)`, the same for every row. Here each
 *   row has its own;
 * - without a letter after "answer" it takes the last of a, b, c, d anywhere, so "12 cm" becomes "c"
 *   and "cabbage" becomes "a". Here only the forms above name a choice;
 * - "answer because" becomes "b". Here the letter after "answer" must end there;
 * - an empty answer is contained in every text, which gives 0.5. Here it gives 0, as None does.
 * As there, the partial credit looks for the answer anywhere: "b" is found in "about".
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerText, column } from "./shared/completion_text.ts";
import { PYTHON_SPACE, strip } from "../src/evaluate/metrics/python_text.ts";

const SPACE = `[${PYTHON_SPACE}]`;
/** Forms of a row's answer that name a choice; the text is in lower case. */
const CHOICES: readonly RegExp[] = [
  new RegExp(`^[("'\\[*]*([a-h])[)"'\\]*.:]*$`),
  // "answer: b because …", but not "the answer is a cat".
  new RegExp(
    `answer${SPACE}*(?:is|:)${SPACE}*[("'\\[*]*(?:(a)(?!${SPACE}+[a-z0-9])|([b-h]))(?![a-z0-9])`,
  ),
  new RegExp(`answer${SPACE}*[("'\\[*]*([a-h])[)"'\\]*.]*$`),
  new RegExp(`(?:option|choice)${SPACE}*:?${SPACE}*[("'\\[*]*([a-h])[)"'\\]*.]*$`),
  new RegExp(`^[("'\\[*]*([a-h])["'*]*[).:\\]]${SPACE}*[^${PYTHON_SPACE}]`),
];

/** What a completion may answer: the row's whole answer, and a choice's letter before it. */
function expectedAnswers(answer: unknown): string[] {
  const text = fold(String(answer));
  for (const form of CHOICES) {
    const letter = form.exec(text)?.slice(1).find((group) => group !== undefined);
    if (letter !== undefined) return [letter, text];
  }
  return [text];
}

function fold(text: string): string {
  return strip(text.normalize("NFC")).toLowerCase();
}

/** The row's answer between answer tags: 1, partial credit, or 0; null without the column. */
export function accuracy(context: RewardContext): (number | null)[] {
  const partial = Number(new URL(import.meta.url).searchParams.get("partial") ?? 0.5);
  const answers = column(context, "answer", "solution");
  return context.completions.map((completion, i) => {
    if (answers === undefined) return null;
    if (answers[i] === null || answers[i] === undefined) return 0;
    const expected = expectedAnswers(answers[i]);
    const given = answerText(completion);
    if (given === null || expected[0] === "") return 0;
    const extracted = fold(given);
    if (expected.includes(extracted)) return 1;
    return extracted.includes(expected[0]) ? partial : 0;
  });
}
