/**
 * How far the policy has moved from the one that sampled: per token (GRPO) or per sequence (GSPO).
 *
 * @module
 */

// N sequences, T tokens

/** Every value of `grpo.importance_sampling_level`. */
export const IMPORTANCE_SAMPLING_LEVELS = ["token", "sequence"] as const;

/** A value of `grpo.importance_sampling_level`. */
export type ImportanceSamplingLevel = typeof IMPORTANCE_SAMPLING_LEVELS[number];

/** Where ratios are taken; `whole`: of the completion's probability, which RLOO needs. */
export type RatioLevel = ImportanceSamplingLevel | "whole";

/**
 * log r of a sequence's tokens.
 *
 * - token: log r_t = log π_θ(t) − log π_old(t).
 * - sequence: the mean of these over the completion's tokens, the same for all of them; r is then the
 *   geometric mean of the ratios. Zheng et al., "Group Sequence Policy Optimization",
 *   arXiv 2507.18071, eq. 7.
 * - whole: the sum of these: the ratio of the probabilities of whole completions.
 *
 * @param difference log π_θ − log π_old, [T]
 * @param mask 1 for completion tokens, [T]
 * @param output written, [T]; masked-out tokens get the token's own value or the sequence's
 */
export function logImportanceRatios(
  level: RatioLevel,
  difference: Float64Array,
  mask: Float64Array,
  output: Float64Array,
): void {
  if (level === "token") {
    output.set(difference);
    return;
  }
  let sum = 0, length = 0;
  for (let t = 0; t < difference.length; t++) {
    if (mask[t] === 0) continue;
    sum += difference[t];
    length++;
  }
  output.fill(level === "whole" ? sum : sum / Math.max(length, 1));
}

/**
 * The backward pass of {@link logImportanceRatios}: adds d loss / d log π_θ to `gradLogProbs`.
 *
 * @param byLogRatio d loss / d log r of each token, [T]
 * @param gradLogProbs added to, [T]
 */
export function addImportanceGradient(
  level: RatioLevel,
  byLogRatio: Float64Array,
  mask: Float64Array,
  gradLogProbs: Float64Array,
): void {
  if (level === "token") {
    for (let t = 0; t < byLogRatio.length; t++) gradLogProbs[t] += byLogRatio[t];
    return;
  }
  let sum = 0, length = 0;
  for (let t = 0; t < byLogRatio.length; t++) {
    sum += byLogRatio[t];
    if (mask[t] !== 0) length++;
  }
  const share = level === "whole" ? sum : sum / Math.max(length, 1);
  for (let t = 0; t < byLogRatio.length; t++) if (mask[t] !== 0) gradLogProbs[t] += share;
}
