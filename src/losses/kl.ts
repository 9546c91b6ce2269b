/**
 * The penalty that keeps a policy near its reference.
 *
 * @module
 */

/**
 * The k3 estimate of KL(π_θ ‖ π_ref) at one sampled token, and its derivative by log π_θ.
 *
 * With d = log π_ref − log π_θ: k3 = e^d − d − 1 ≥ 0. Shao et al., "DeepSeekMath",
 * arXiv 2402.03300, eq. 4; Schulman, "Approximating KL Divergence", joschu.net/blog/kl-approx.html.
 *
 * @returns [k3, d k3 / d log π_θ = 1 − e^d]
 */
export function k3Divergence(logProb: number, refLogProb: number): [number, number] {
  const d = refLogProb - logProb;
  return [Math.expm1(d) - d, -Math.expm1(d)];
}
