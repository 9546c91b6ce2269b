/**
 * Which tokens and sequences the policy term leaves out.
 *
 * @module
 */

/**
 * The entropy from which on a token belongs to the given top share.
 *
 * Wang et al., "Beyond the 80/20 Rule", arXiv 2506.01939, section 5: only high-entropy tokens get a
 * policy gradient. The quantile is interpolated linearly and kept as float32, as PyTorch does. For k
 * micro-batches to equal one batch, compute it over the whole batch and pass it to `grpoLoss`.
 *
 * @param entropies any shape
 * @param mask the same shape; tokens with 0 do not count
 * @param topShare `top_entropy_quantile`: 0.2 keeps the top fifth
 * @returns the threshold in nats; +∞ if no token counts
 */
export function highEntropyThreshold(
  entropies: ArrayLike<number>,
  mask: ArrayLike<number>,
  topShare: number,
): number {
  const kept: number[] = [];
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0) kept.push(Math.fround(entropies[i]));
  if (kept.length === 0) return Infinity;
  kept.sort((a, b) => a - b);
  const position = (1 - topShare) * (kept.length - 1);
  const below = Math.floor(position), above = Math.ceil(position);
  return Math.fround(kept[below] + (kept[above] - kept[below]) * (position - below));
}

/**
 * Whether a sequence is kept: its advantage is not negative, or the policy has not drifted away from
 * it: mean over its tokens of log π_old − log π_θ at most `threshold`. "DeepSeek-V3.2",
 * arXiv 2512.02556, eq. 9.
 *
 * @param difference log π_θ − log π_old, [T]
 * @param mask [T]
 */
export function keepsOffPolicySequence(
  difference: Float64Array,
  mask: Float64Array,
  advantage: number,
  threshold: number,
): boolean {
  if (advantage >= 0) return true;
  let sum = 0, length = 0;
  for (let t = 0; t < mask.length; t++) {
    if (mask[t] === 0) continue;
    sum -= difference[t];
    length++;
  }
  return sum / Math.max(length, 1) <= threshold;
}
