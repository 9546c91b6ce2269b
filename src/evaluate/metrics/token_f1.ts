/**
 * F1 of words, the metric of SQuAD: how many words prediction and answer share.
 *
 * With the words that both have, repeated ones as often as both have them: precision is their share of
 * the prediction's words, recall of the answer's, and the score is the harmonic mean; the best answer
 * counts. Case, ASCII punctuation and the articles a, an, the do not count.
 *
 * Source: Rajpurkar et al., SQuAD (2016), section 6.1; values as `get_f1_score` of lmms-eval's
 * `tasks/mmsearch/score/f1_score.py`, with one answer.
 *
 * @module
 */
import { splitWords } from "./python_text.ts";

const PUNCTUATION = /[!-/:-@[-`{-~]/g;

function wordsOf(text: string): string[] {
  const plain = text.toLowerCase().replace(PUNCTUATION, "").replace(
    /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu,
    " ",
  );
  return splitWords(plain);
}

function f1(given: readonly string[], wanted: readonly string[]): number {
  if (given.length === 0 || wanted.length === 0) return given.length === wanted.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let shared = 0;
  for (const word of given) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    shared++;
  }
  if (shared === 0) return 0;
  const precision = shared / given.length, recall = shared / wanted.length;
  return (2 * precision * recall) / (precision + recall);
}

/**
 * F1 with the nearest accepted answer.
 *
 * @returns 0 … 1
 */
export function tokenF1(prediction: string, answers: readonly string[]): number {
  const given = wordsOf(prediction);
  return Math.max(0, ...answers.map((answer) => f1(given, wordsOf(answer))));
}
