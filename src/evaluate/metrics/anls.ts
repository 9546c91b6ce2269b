/**
 * Average normalised Levenshtein similarity, the metric of DocVQA and InfographicVQA.
 *
 * For a prediction p and accepted answers a: s = max over a of 1 − d(a', p') / max(|a|, |p|), and 0 if
 * s is below 0.5. d is the edit distance; a' and p' are lower case with single spaces.
 *
 * Source: Biten et al., Scene Text Visual Question Answering (2019), equation 1; values as
 * `anls` of lmms-eval's `api/metrics.py`. As there, the length is that of the upper-case text before
 * white space is normalised, so that extra spaces can only raise a score.
 *
 * @module
 */
import { splitWords } from "./python_text.ts";

/** Below this similarity an answer scores 0. */
const THRESHOLD = 0.5;

/** Fewest insertions, deletions and replacements of characters that turn one text into the other. */
export function editDistance(a: string, b: string): number {
  const from = [...a], to = [...b];
  let row = from.map((_, i) => i);
  row.push(from.length);
  to.forEach((character, j) => {
    const next = [j + 1];
    for (let i = 0; i < from.length; i++) {
      next.push(
        from[i] === character ? row[i] : 1 + Math.min(row[i], row[i + 1], next[i]),
      );
    }
    row = next;
  });
  return row[from.length];
}

const comparable = (text: string) => splitWords(text.toLowerCase()).join(" ");
const upperCaseLength = (text: string) => [...text.toUpperCase()].length;

/**
 * Similarity of a prediction with the nearest accepted answer.
 *
 * @param answers at least one
 * @returns 0, or 0.5 … 1
 */
export function anls(prediction: string, answers: readonly string[]): number {
  const distances = answers.map((answer) => {
    const length = Math.max(upperCaseLength(answer), upperCaseLength(prediction));
    return length === 0 ? 0 : editDistance(comparable(answer), comparable(prediction)) / length;
  });
  const similarity = 1 - Math.min(...distances);
  return similarity < THRESHOLD ? 0 : similarity;
}
