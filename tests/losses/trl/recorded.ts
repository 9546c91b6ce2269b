/** What `record.py` recorded, and the way from gradients of log-probabilities to those of logits. */
import { assertAlmostEquals, assertEquals } from "@std/assert";
import cases from "./cases.json" with { type: "json" };

// N answers: those chosen, then those rejected. T tokens of the longest, V vocabulary

export { cases };

const V = cases.vocabulary, N = cases.lengths.length;
/** Positions a row: the prompt's token, then T. */
const P = cases.input_ids[0].length;
/** Pairs. */
export const B = N / 2;

/** The distribution of one position. */
export interface Distribution {
  readonly logProbs: readonly number[];
  readonly entropy: number;
}

function distributions(logits: readonly number[]): Distribution[][] {
  return Array.from({ length: N }, (_, n) =>
    Array.from({ length: cases.lengths[n] }, (_, t) => {
      const own = logits.slice((n * P + t) * V, (n * P + t + 1) * V);
      const largest = Math.max(...own);
      const normaliser = largest +
        Math.log(own.reduce((sum, value) => sum + Math.exp(value - largest), 0));
      const logProbs = own.map((value) => value - normaliser);
      const entropy = -logProbs.reduce((sum, value) => sum + value * Math.exp(value), 0);
      return { logProbs, entropy };
    }));
}

/** Of each token of each answer, under the policy and under the reference. */
export const policy = distributions(cases.logits);
export const reference = distributions(cases.ref_logits);

const targets = (n: number) => cases.input_ids[n].slice(1, 1 + cases.lengths[n]);

/** Log-probabilities of an answer's tokens. */
export function tokenLogProbs(under: readonly (readonly Distribution[])[], n: number): number[] {
  return targets(n).map((id, t) => under[n][t].logProbs[id]);
}

/** The same at temperature 1/2. */
export function sharpenedLogProbs(n: number): number[] {
  return targets(n).map((id, t) => {
    const doubled = policy[n][t].logProbs.map((value) => 2 * value);
    return doubled[id] - Math.log(doubled.reduce((sum, value) => sum + Math.exp(value), 0));
  });
}

/**
 * Compares the gradient of a loss by the logits with the recorded one.
 *
 * @param slopes d loss / d log-probability of each answer's tokens
 * @param byEntropy d loss / d entropy of each answer's tokens; default 0
 */
export function assertLogitGradient(
  slopes: readonly ArrayLike<number>[],
  recorded: readonly number[],
  byEntropy?: readonly ArrayLike<number>[],
  tolerance = 1e-9,
): void {
  const gradient = new Array<number>(N * P * V).fill(0);
  for (let n = 0; n < N; n++) {
    targets(n).forEach((id, t) => {
      const { logProbs, entropy } = policy[n][t];
      logProbs.forEach((logProb, v) => {
        const p = Math.exp(logProb);
        gradient[(n * P + t) * V + v] = slopes[n][t] * ((v === id ? 1 : 0) - p) -
          (byEntropy?.[n][t] ?? 0) * p * (logProb + entropy);
      });
    });
  }
  assertEquals(gradient.length, recorded.length);
  gradient.forEach((value, i) => assertAlmostEquals(value, recorded[i], tolerance, `logit ${i}`));
}

/** Each recorded metric that ours has too, to float32, which TRL computes some in; the names compared. */
export function assertMetrics(
  got: Readonly<Record<string, number>>,
  recorded: Readonly<Record<string, number>>,
): string[] {
  const common = Object.keys(got).filter((name) => name in recorded);
  for (const name of common) assertAlmostEquals(got[name], recorded[name], 1e-6, name);
  return common;
}
