/**
 * Cross entropy over a vocabulary on the host: the reference that the fused ops are checked against.
 *
 * @module
 */

// R rows (tokens), V vocabulary

/** Labels with this value are not counted. */
export const IGNORED_LABEL = -100;

/** What {@link crossEntropy} gives. */
export interface CrossEntropyResult {
  /** Σ −log softmax(logits)[label] over counted rows, divided by the normaliser. */
  loss: number;
  /** Rows with a label. */
  labelTokens: number;
  /** log softmax(logits)[label], [R]; 0 where the label is ignored. */
  logProbs: Float64Array;
  /** Entropy of each row's softmax in nats, [R]. */
  entropies: Float64Array;
  /** d loss / d logits, [R, V]; written, not added. */
  gradLogits: Float64Array;
}

/**
 * −(1/n) Σ log softmax(z_r)[y_r]; its gradient by z_r is (softmax(z_r) − onehot(y_r)) / n.
 *
 * @param logits [R, V], row-major
 * @param labels [R]; −100 is ignored
 * @param normaliser n: label tokens of the whole accumulated batch; default: those here
 * @throws {RangeError} where a label is outside the vocabulary or sizes do not fit
 *
 * @example Even odds between two tokens cost log 2
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { crossEntropy } from "./cross_entropy.ts";
 *
 * const { loss, gradLogits } = crossEntropy([1, 1], [0]);
 * assertAlmostEquals(loss, Math.log(2), 1e-12);
 * assertAlmostEquals(gradLogits[0], -0.5, 1e-12);
 * ```
 */
export function crossEntropy(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  normaliser?: number,
): CrossEntropyResult {
  const R = labels.length, V = R === 0 ? 0 : logits.length / R;
  if (!Number.isInteger(V)) {
    throw new RangeError(
      `Cannot compute a cross entropy: ${logits.length} logits do not split into ${R} rows; want ` +
        "logits [R, V] and labels [R]",
    );
  }
  let labelTokens = 0;
  for (let r = 0; r < R; r++) if (labels[r] !== IGNORED_LABEL) labelTokens++;
  const divisor = Math.max(normaliser ?? labelTokens, 1);
  const result: CrossEntropyResult = {
    loss: 0,
    labelTokens,
    logProbs: new Float64Array(R),
    entropies: new Float64Array(R),
    gradLogits: new Float64Array(R * V),
  };
  for (let r = 0; r < R; r++) {
    const row = r * V, label = labels[r];
    if (label !== IGNORED_LABEL && !(Number.isInteger(label) && label >= 0 && label < V)) {
      throw new RangeError(
        `Cannot compute a cross entropy: label ${label} in row ${r}, want 0 to ${V - 1} or ` +
          `${IGNORED_LABEL}; the tokenizer and the model's vocabulary may not belong together`,
      );
    }
    let largest = -Infinity;
    for (let v = 0; v < V; v++) largest = Math.max(largest, logits[row + v]);
    let sum = 0, weighted = 0;
    for (let v = 0; v < V; v++) {
      const shifted = logits[row + v] - largest, e = Math.exp(shifted);
      sum += e;
      if (e > 0) weighted += e * shifted; // 0 · −∞ counts as 0
    }
    const logSum = Math.log(sum);
    result.entropies[r] = logSum - weighted / sum;
    if (label === IGNORED_LABEL) continue;
    result.logProbs[r] = logits[row + label] - largest - logSum;
    result.loss -= result.logProbs[r] / divisor;
    for (let v = 0; v < V; v++) {
      const probability = Math.exp(logits[row + v] - largest) / sum;
      result.gradLogits[row + v] = (probability - (v === label ? 1 : 0)) / divisor;
    }
  }
  return result;
}
