/**
 * The normal form in which VQA's evaluation compares answers: punctuation removed, number words as
 * digits, articles dropped, apostrophes of contractions restored.
 *
 * Source: the evaluation server of VQA v2, as `EvalAIAnswerProcessor` of lmms-eval's
 * `tasks/_task_utils/vqa_eval_metric.py` computes it.
 *
 * @module
 */
import { CONTRACTION_OF } from "./contractions.ts";
import { splitWords, strip } from "./python_text.ts";

const NUMBER_WORDS: ReadonlyMap<string, string> = new Map([
  ["none", "0"],
  ...["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    .map((word, value): [string, string] => [word, String(value)]),
]);
const ARTICLES: ReadonlySet<string> = new Set(["a", "an", "the"]);
const PUNCTUATION = [...`;/[]"{}()=+\\_-><@\`,?!`];
const THOUSANDS_COMMA = /(?<=\p{Nd}),+(?=\p{Nd})/u;
const PERIOD = /\.(?!\p{Nd})/gu;
/** The reference gives a flag of 32 in the place of a count, so that it removes 32 periods at most. */
const MOST_PERIODS = 32;

/** Removes punctuation beside a space; other punctuation becomes a space, unless a number has commas. */
function withoutPunctuation(text: string): string {
  const hasThousands = THOUSANDS_COMMA.test(text);
  let result = text;
  for (const mark of PUNCTUATION) {
    const besideSpace = text.includes(`${mark} `) || text.includes(` ${mark}`);
    result = result.replaceAll(mark, besideSpace || hasThousands ? "" : " ");
  }
  let removed = 0;
  return result.replace(PERIOD, (period) => removed++ < MOST_PERIODS ? "" : period);
}

function withDigitsAndContractions(text: string): string {
  return splitWords(text.toLowerCase())
    .map((word) => NUMBER_WORDS.get(word) ?? word)
    .filter((word) => !ARTICLES.has(word))
    .map((word) => CONTRACTION_OF.get(word) ?? word)
    .join(" ");
}

/** Line ends and tabs as spaces, outer white space removed. */
const onOneLine = (text: string) => strip(text.replace(/[\n\t]/g, " "));

/** Normal form of the VQA v2 evaluation. */
export function normalVqaV2Answer(text: string): string {
  return withDigitsAndContractions(withoutPunctuation(onOneLine(text)));
}

/** Normal form of the TextVQA evaluation, which also drops commas and question marks first. */
export function normalTextVqaAnswer(text: string): string {
  const words = text.toLowerCase().replace(/[,?]/g, "").replaceAll("'s", " 's");
  return withDigitsAndContractions(withoutPunctuation(onOneLine(strip(words))));
}
