/**
 * Scores of DPO under other divergences than the reverse KL.
 *
 * Wang et al., "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse
 * Divergence Constraints", arXiv 2309.16240, table 1: with u = π_θ / π_ref the score of an answer is
 * f′(u). Constants cancel in the difference of two scores and are left out, as in TRL.
 *
 * @module
 */
import { logSigmoid, sigmoid } from "./log_sigmoid.ts";

/** Every value of `dpo.f_divergence_type`, with TRL's names. */
export const F_DIVERGENCES = [
  "reverse_kl",
  "forward_kl",
  "js_divergence",
  "alpha_divergence",
] as const;

/** A value of `dpo.f_divergence_type`. */
export type FDivergence = typeof F_DIVERGENCES[number];

/** e^x with x above this is taken as constant, as TRL does for float32. */
const LARGEST_EXPONENT = 80;

/**
 * Score of an answer and its derivative by the log ratio.
 *
 * @param logRatio x = log π_θ(y|x) − log π_ref(y|x)
 * @param alpha α of the alpha divergence; at 1 it is the reverse KL
 * @returns [score, d score / d logRatio]
 */
export function divergenceScore(
  logRatio: number,
  divergence: FDivergence,
  alpha: number,
): [number, number] {
  switch (divergence) {
    case "reverse_kl": // f′(u) = log u + 1
      return [logRatio, 1];
    case "forward_kl": { // f′(u) = −1/u
      const inverse = Math.exp(-logRatio);
      return [-inverse, inverse];
    }
    case "js_divergence": // f′(u) = log(2u / (1 + u))
      return [logSigmoid(logRatio), sigmoid(-logRatio)];
    case "alpha_divergence": { // f′(u) = (u^(α−1) − 1) / (α − 1)
      const power = alpha - 1;
      if (Math.abs(power) < 1e-6) return [logRatio, 1];
      const exponent = power * logRatio;
      if (exponent > LARGEST_EXPONENT) return [Math.exp(LARGEST_EXPONENT) / power, 0];
      return [Math.exp(exponent) / power, Math.exp(exponent)];
    }
  }
}
