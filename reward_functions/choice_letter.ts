/**
 * `builtin:choice_letter`: 1 if the answer chooses the row's letter (`answer` or `solution`, A to
 * Z), else 0; null if the row's answer names no letter.
 *
 * In this order, a text chooses: a letter that is all there is ("B", "b.", "(B)"); the last letter
 * that is stated ("the answer is B because …", "I choose option c", "\boxed{B}"); the letter at its
 * beginning ("B) square", "B is correct"); the last capital letter that stands by itself. Letters
 * that the text denies ("not D", "A is wrong"), the article "A" and the pronoun "I" do not count. A
 * text that leaves the choice open ("A or B") chooses nothing.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";

const WHOLE = /^[\s("'*[{“‘`$]*([A-Za-z])[\s)"'*.:,;!\]}”’`$]*$/u;
// A letter that is no part of a word, an abbreviation or a hyphenated word.
const LETTER =
  /(?<![\p{L}\p{N}_'’.-]|\d\s)([A-Za-z])(?![\p{L}\p{N}_'’]|-\p{L}|\.\p{L}|\.\s\p{Lu}\p{Ll}+\s*$)/gu;
/** Words after which a letter is the choice. */
const STATED =
  /(?:\b(?:answer|option|choice|letter|choose|chose|chosen|pick|picked|select|selected|go with|going with|conclude)|boxed|####)\W*(?:(?:is|was|are|would be|should be|must be|will be|to be|seems to be|that is|it is|it['’]s|clearly|definitely|probably|most likely|therefore|thus|text|textbf|mathrm|option|choice|letter|answer)\W*)*$/i;
/** Words that may follow the letter A; other small words make it an article. */
const AFTER_A =
  /^\s+(?:because|since|as|due|given|which|while|whereas|but|and|or|is|was|isn|wasn|not|if|where|based|according|for|seems|looks|appears|would|matches|fits|shows|over|rather|instead|follows|must|should|can)\b/;
const DENIED_BEFORE =
  /(?:\bnot|n['’]t|\brather than|\binstead of|\bover|\bunlike|\bneither|\bnor|\beliminate|\bexclude|\brules? out|\bruled out|\bexcept|\bwrongly)\s+(?:be\s+)?(?:the\s+)?(?:answer\s+|option\s+|choice\s+|letter\s+)?[("'*]*$/i;
const DENIED_AFTER =
  /^["')*\]]*(?:\s*(?:,|and|or|, and)\s*[("'*]*[A-Z]["')*]*)*\s+(?:is|are|was|were|seems?|looks?|can|could|would|does|do)(?:n['’]t\b|\s+(?:\w+ly\s+|all\s+|both\s+|be\s+)*(?:wrong|incorrect|false|not|out|eliminated|ruled out|excluded)\b)/;
/** Between two letters of which one is to be chosen. */
const OPEN = /^["')*.\]]*\s*(?:or|\/|,)\s*(?:option\s+|choice\s+)?["'(*]*$/i;

interface Letter {
  letter: string;
  from: number;
  to: number;
  isStated: boolean;
}

/** Letters of a text that can be choices. */
function letters(text: string): Letter[] {
  const found: Letter[] = [];
  for (const match of text.matchAll(LETTER)) {
    const from = match.index, to = from + 1;
    const before = text.slice(Math.max(0, from - 80), from), after = text.slice(to, to + 80);
    const isStated = STATED.test(before);
    const small = match[0] !== match[0].toUpperCase();
    // A small letter counts only if it is stated and no word follows.
    if (small && (!isStated || /^\s+[\p{L}\p{N}]/u.test(after) && !AFTER_A.test(after))) continue;
    if (/[Aa]/.test(match[0]) && /^\s+[\p{L}\p{N}]/u.test(after) && !AFTER_A.test(after)) continue;
    if (match[0] === "I" && !isStated && /^(?:\s+\p{Ll}|['’])/u.test(after)) continue;
    if (DENIED_BEFORE.test(before) || DENIED_AFTER.test(after)) continue;
    found.push({ letter: match[0].toUpperCase(), from, to, isStated });
  }
  return found;
}

/** True if the text offers this letter and a neighbour without a choice. */
function isOpen(text: string, all: readonly Letter[], at: number): boolean {
  return [[at - 1, at], [at, at + 1]].some(([a, b]) =>
    all[a] !== undefined && all[b] !== undefined && all[a].letter !== all[b].letter &&
    OPEN.test(text.slice(all[a].to, all[b].from))
  );
}

/** The letter that a text chooses, or null. */
function choice(text: string): string | null {
  const whole = WHOLE.exec(text)?.[1];
  if (whole !== undefined) return whole.toUpperCase();
  const all = letters(text);
  const pick = (at: number): string | null => isOpen(text, all, at) ? null : all[at].letter;
  const stated = all.findLastIndex((one) => one.isStated);
  if (stated >= 0) return pick(stated);
  const listed = /^[\s("'*[]*([A-Za-z])["'*]*[).:\]]["'*]*(?!\p{L})/u.exec(text)?.[1];
  if (listed !== undefined) return listed.toUpperCase();
  const first = all[0];
  if (first !== undefined && /^[\s("'*[]*$/.test(text.slice(0, first.from))) {
    if (/^["')*\]]*\s+(?:is|seems|looks|because|since|as)\b/.test(text.slice(first.to))) {
      return first.letter;
    }
  }
  return all.length === 0 ? null : pick(all.length - 1);
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
