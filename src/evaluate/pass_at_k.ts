/**
 * How often one of k answers is right, from n ≥ k answers a question.
 *
 * pass@k = mean over the questions of 1 − C(n − c, k) / C(n, k), where c of the n answers are right. It is
 * unbiased: the plain share of questions with a right one among the first k has the same mean and a
 * larger variance, and 1 − (1 − c/n)^k is too low.
 *
 * Source: Chen et al., "Evaluating Large Language Models Trained on Code" (2021, arXiv 2107.03374),
 * equation 1.
 *
 * @module
 */

/**
 * The estimate for one question.
 *
 * @param n answers
 * @param c right ones among them
 * @param k answers that may be tried, 1 … n
 * @returns 0 … 1
 * @throws {RangeError} if the numbers do not fit together
 *
 * @example One of four answers is right
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { passAtK } from "./pass_at_k.ts";
 *
 * assertEquals(passAtK(4, 1, 1), 0.25);
 * assertEquals(passAtK(4, 1, 4), 1);
 * ```
 */
export function passAtK(n: number, c: number, k: number): number {
  const whole = [n, c, k].every(Number.isInteger);
  if (!whole || k < 1 || k > n || c < 0 || c > n) {
    throw new RangeError(`Cannot estimate pass@${k} from ${c} right ones of ${n} answers`);
  }
  if (n - c < k) return 1;
  // C(n − c, k) / C(n, k) as a product, so that nothing overflows.
  let allWrong = 1;
  for (let i = n - c + 1; i <= n; i++) allWrong *= 1 - k / i;
  return 1 - allWrong;
}

/** 1, 2, 4, … and n itself. */
export function passCounts(n: number): number[] {
  const counts: number[] = [];
  for (let k = 1; k < n; k *= 2) counts.push(k);
  return [...counts, n];
}
