/**
 * The accuracy that a model can reach without looking at the picture.
 *
 * @module
 */

/** A question's text and its answer. */
export interface QuestionAnswer {
  question: string;
  answer: string;
}

/** The most frequent of a list of words, the first of equals. */
function mostFrequent(counts: ReadonlyMap<string, number>): string | null {
  let best: string | null = null, most = 0;
  for (const [word, count] of counts) if (count > most) [best, most] = [word, count];
  return best;
}

/**
 * Exact-match accuracy, 0 to 1, of answering each question text with its most frequent training
 * answer (a text that training lacks: with the most frequent answer of all).
 *
 * @returns 0 if there are no test questions
 *
 * @example Blind, half of the yes-or-no questions are right
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { blindBaseline } from "./blind_baseline.ts";
 *
 * const train = [{ question: "Red?", answer: "yes" }, { question: "How many?", answer: "2" }];
 * const test = [{ question: "Red?", answer: "yes" }, { question: "Red?", answer: "no" }];
 * assertEquals(blindBaseline(train, test), 0.5);
 * ```
 */
export function blindBaseline(
  train: Iterable<QuestionAnswer>,
  test: Iterable<QuestionAnswer>,
): number {
  const byQuestion = new Map<string, Map<string, number>>();
  const all = new Map<string, number>();
  for (const { question, answer } of train) {
    const counts = byQuestion.get(question) ?? new Map<string, number>();
    byQuestion.set(question, counts);
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
    all.set(answer, (all.get(answer) ?? 0) + 1);
  }
  const fallback = mostFrequent(all);
  let right = 0, total = 0;
  for (const { question, answer } of test) {
    const counts = byQuestion.get(question);
    const guess = counts === undefined ? fallback : mostFrequent(counts);
    if (guess === answer) right++;
    total++;
  }
  return total === 0 ? 0 : right / total;
}
