/**
 * `builtin:choice_letter`: 1 where the answer chooses the row's letter (`answer` or `solution`, A to
 * Z), else 0; null where the row's answer names no letter.
 *
 * A choice is a letter alone ("B", "b.", "(B)"), or the last capital letter that stands alone
 * ("the answer is B"); "A" before a small word is an article and does not count.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";

/** The letter that a text chooses, or null. */
function choice(text: string): string | null {
  const alone = /^[\s("'*[]*([A-Za-z])[\s)"'*.:,\]]*$/.exec(text)?.[1];
  if (alone !== undefined) return alone.toUpperCase();
  const listed = /^[\s("'*[]*([A-Za-z])[).:\]]/.exec(text)?.[1];
  if (listed !== undefined) return listed.toUpperCase();
  const said = [...text.matchAll(/(?<![\p{L}\p{N}'’])([A-Z])(?![\p{L}\p{N}'’])(?!\s+\p{Ll})/gu)];
  return said.at(-1)?.[1] ?? null;
}

/** The right choice: 1 or 0. */
export function choiceLetter(context: RewardContext): (number | null)[] {
  const answers = column(context, "answer", "solution");
  return context.completions.map((completion, i) => {
    const right = choice(String(answers?.[i] ?? ""));
    if (right === null) return null;
    return choice(answerOrAll(completion)) === right ? 1 : 0;
  });
}
