/**
 * Whether an answer to a question of MMMU is right.
 *
 * Source: Yue et al., MMMU (2023), `eval_utils.py`; values as `mmmu_process_results` and
 * `evaluate_mmmu` of lmms-eval's `tasks/mmmu/utils.py`, its oddities included: an open answer is
 * right if a part of it contains the accepted text. Where no option can be read from an answer, the
 * reference draws one at random; here the draw depends on the question alone, so that the same answer
 * has the same score.
 *
 * @module
 */
import { RandomStream } from "../../random.ts";
import { parseFloatAsPython, splitWords, strip, stripCharacter } from "../metrics/python_text.ts";
import { optionLetter } from "./prompt.ts";

const OUTER_MARKS = [",", ".", "!", "?", ";", ":", "'"];

/** The candidate whose place is the last one; the first of equals. */
function latest(candidates: readonly string[], placeOf: (letter: string) => number): string {
  return candidates.reduce((best, letter) => placeOf(letter) > placeOf(best) ? letter : best);
}

/**
 * The letter that an answer chooses.
 *
 * @param seed of the draw if no letter can be read
 */
export function mmmuLetter(answer: string, options: readonly string[], seed: string): string {
  const letters = options.map((_, i) => optionLetter(i));
  let text = answer;
  for (const mark of OUTER_MARKS) text = stripCharacter(text, mark);
  text = ` ${text} `;
  const forms = [
    { has: (letter: string) => text.includes(`(${letter})`), place: (l: string) => `(${l})` },
    { has: (letter: string) => text.includes(`${letter} `), place: (l: string) => ` ${l} ` },
    { has: (letter: string) => text.includes(`${letter}.`), place: (l: string) => ` ${l} ` },
  ];
  for (const { has, place } of forms) {
    const found = letters.filter(has);
    if (found.length > 0) return latest(found, (letter) => text.lastIndexOf(place(letter)));
  }
  const lower = text.toLowerCase();
  if (splitWords(text).length > 5) {
    const textOf = (letter: string) => options[letters.indexOf(letter)].toLowerCase();
    const found = letters.filter((letter) => lower.includes(textOf(letter)));
    if (found.length > 0) return latest(found, (letter) => lower.lastIndexOf(textOf(letter)));
  }
  const random = new RandomStream(42, `mmmu ${seed}`);
  return letters[Math.floor(random.nextFloat() * letters.length)];
}

/** `round(value, 2)` of Python: the nearest double, halves to even. */
function roundToCents(value: number): number {
  const eighths = value * 8;
  if (!Number.isInteger(eighths) || eighths % 2 === 0) return Number(value.toFixed(2));
  const below = Math.floor(value * 100);
  return (below % 2 === 0 ? below : below + 1) / 100;
}

/** A text as a number of two decimals, or in lower case. */
function normalized(text: string): (string | number)[] {
  const trimmed = strip(text);
  const number = parseFloatAsPython(trimmed.replaceAll(",", ""));
  if (number !== null) return [roundToCents(number)];
  const lower = trimmed.toLowerCase();
  return [...lower].length === 1 ? [` ${lower}`, `${lower} `] : [lower];
}

const NUMBERS = [
  /-?\b\d{1,3}(?:,\d{3})+\b/g,
  /-?\d+(?:\.\d+)?[eE][+-]?\d+/g,
  /-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])/g,
];
const INDICATORS = [
  "could be ",
  "so ",
  "is ",
  "thus ",
  "therefore ",
  "final ",
  "answer ",
  "result ",
];
const TRIVIAL = new Set([":", ",", ".", "!", "?", ";", "'"]);

/** The parts of an answer that may hold what was asked for. */
function keyParts(answer: string): string[] {
  const text = stripCharacter(strip(answer), ".").toLowerCase();
  const lines = text.split("\n");
  const parts = lines.flatMap((line, i) => {
    const indicators = i === lines.length - 1 ? [...INDICATORS, "="] : INDICATORS;
    let shortest = "";
    for (const indicator of indicators) {
      if (!line.includes(indicator)) continue;
      const tail = strip(line.split(indicator).at(-1)!);
      if (shortest === "" || [...tail].length < [...shortest].length) shortest = tail;
    }
    return shortest === "" || TRIVIAL.has(shortest) ? [] : [shortest];
  });
  return parts.length === 0 ? [text] : parts;
}

/** Whether an open answer holds one of the accepted answers. */
export function isRightOpenAnswer(answer: string, accepted: readonly string[]): boolean {
  const wanted = accepted.flatMap(normalized);
  const parts = keyParts(answer);
  const numbers = parts.flatMap((part) => NUMBERS.flatMap((form) => part.match(form) ?? []));
  return [...parts, ...numbers].flatMap(normalized).some((given) =>
    typeof given === "number"
      ? wanted.some((number) => number === given)
      : wanted.some((text) => typeof text === "string" && given.includes(text))
  );
}
