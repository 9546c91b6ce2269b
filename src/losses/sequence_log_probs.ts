/**
 * From log-probabilities of tokens to those of answers, and the gradient's way back.
 *
 * @module
 */

// N sequences, T tokens

/**
 * Sums the log-probabilities of each row's unmasked tokens.
 *
 * @param tokenLogProbs [N, T], row-major; entries where the mask is 0 may hold anything
 * @param mask [N, T]
 * @param N rows
 * @returns sums [N] and unmasked tokens [N]
 */
export function sumSequenceLogProbs(
  tokenLogProbs: ArrayLike<number>,
  mask: ArrayLike<number>,
  N: number,
): { logProbs: Float64Array; lengths: Float64Array } {
  const T = N === 0 ? 0 : tokenLogProbs.length / N;
  if (!Number.isInteger(T) || mask.length !== tokenLogProbs.length) {
    throw new RangeError(
      `Cannot sum log-probabilities: got ${tokenLogProbs.length} of them and ${mask.length} mask ` +
        `entries for ${N} rows; want both [N, T]`,
    );
  }
  const logProbs = new Float64Array(N), lengths = new Float64Array(N);
  for (let i = 0; i < N; i++) {
    for (let index = i * T; index < (i + 1) * T; index++) {
      if (mask[index] === 0) continue;
      logProbs[i] += tokenLogProbs[index];
      lengths[i]++;
    }
  }
  return { logProbs, lengths };
}

/**
 * The backward of {@link sumSequenceLogProbs}: each unmasked token gets its row's gradient.
 *
 * @param gradSequences [N]
 * @param mask [N, T]
 * @returns [N, T]; written, not added
 */
export function spreadSequenceGradient(
  gradSequences: ArrayLike<number>,
  mask: ArrayLike<number>,
): Float64Array {
  const N = gradSequences.length, T = N === 0 ? 0 : mask.length / N;
  const grad = new Float64Array(mask.length);
  for (let index = 0; index < grad.length; index++) {
    if (mask[index] !== 0) grad[index] = gradSequences[Math.floor(index / T)];
  }
  return grad;
}
