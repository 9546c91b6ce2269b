/**
 * Draws a token from each row of logits on the device, in Transformers' order: repetition penalty,
 * temperature, top-k (Fan et al., arXiv 1805.04833), top-p (Holtzman et al., arXiv 1904.09751),
 * min-p (arXiv 2407.01082). Tokens that tie with the last one kept are kept too.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import type { DrawnRows, RowSampling, SampledLogits } from "./kernels.ts";

export type { DrawnRows, RowSampling, SampledLogits };

// S sequences, V vocabulary

/** Stands for −∞, which WGSL need not handle. */
export const FORBIDDEN = -1e30;
/** Tokens e^−100 times as likely as the likeliest are never drawn, filtered or not. */
const SPAN = 100;
/** How finely {@linkcode SPAN} is searched, in bits: below the spacing of float32 logits. */
const SEARCH_BITS = 34;
/** Thresholds that are tried at once; each round narrows the span by this and one. */
const THRESHOLDS = 15;
/** Values that a round may make. */
const ROUND_VALUES = 2 ** 21;
/** The largest float32 below 1. */
const BELOW_ONE = 1 - 2 ** -24;

/**
 * The largest threshold such that what is at or above it still holds the wanted mass, searched
 * below each row's maximum, several thresholds a round.
 *
 * @param scaled [S, V]
 * @param largest of each row, [S, 1]
 * @param mass of each token, [S, V]; null: 1
 * @param wanted mass, [S, 1]
 * @returns [S, 1]
 */
function thresholdOf(
  scaled: tf.Tensor2D,
  largest: tf.Tensor,
  mass: tf.Tensor2D | null,
  wanted: tf.Tensor,
): tf.Tensor {
  const n = Math.max(1, Math.min(THRESHOLDS, Math.floor(ROUND_VALUES / scaled.size)));
  const rounds = Math.ceil(SEARCH_BITS / Math.log2(n + 1));
  const steps = tf.tensor2d(Array.from({ length: n }, (_, i) => i + 1), [1, n]); // [1, n]
  const rows = scaled.expandDims(1); // [S, 1, V]
  let low: tf.Tensor = largest.sub(SPAN); // [S, 1]
  let width = SPAN;
  for (let round = 0; round < rounds; round++) {
    width /= n + 1;
    low = tf.tidy(() => {
      const thresholds = low.add(steps.mul(width)).expandDims(2); // [S, n, 1]
      const above = rows.greaterEqual(thresholds).cast("float32"); // [S, n, V]
      const held = (mass ? above.mul(mass.expandDims(1)) : above).sum(2); // [S, n]
      // Lower thresholds hold more: the number that suffices tells where to search next.
      const suffice = held.greaterEqual(wanted).cast("float32").sum(1, true); // [S, 1]
      return low.add(suffice.mul(width)); // [S, 1]
    });
  }
  return low;
}

/**
 * Unnormalised probabilities after the filters.
 *
 * @param scaled logits / temperature, forbidden ones at {@linkcode FORBIDDEN}, [S, V]
 * @returns exp(scaled − max) for tokens that are kept, 0 for others, [S, V]
 */
export function filteredWeights(
  scaled: tf.Tensor2D,
  { topK, topP, minP }: Pick<RowSampling, "topK" | "topP" | "minP">,
): tf.Tensor2D {
  const V = scaled.shape[1];
  return tf.tidy(() => {
    const largest = scaled.max(1, true); // [S, 1]
    let weights = scaled.sub(largest).exp() as tf.Tensor2D; // [S, V]
    const keepFrom = (threshold: tf.Tensor) => {
      weights = weights.mul(scaled.greaterEqual(threshold).cast("float32"));
    };
    if (topK > 0 && topK < V) {
      keepFrom(thresholdOf(scaled, largest, null, tf.scalar(topK)));
    }
    if (topP > 0 && topP < 1) {
      const wanted = weights.sum(1, true).mul(topP); // [S, 1]
      keepFrom(thresholdOf(scaled, largest, weights, wanted));
    }
    if (minP > 0) keepFrom(largest.add(Math.log(minP)));
    return weights;
  });
}

/** The value of each row at its token: [S, V] and [S] → [S]. */
function pick(rows: tf.Tensor2D, tokens: tf.Tensor1D): tf.Tensor1D {
  const [S, V] = rows.shape;
  const offsets = tf.tensor1d(Int32Array.from({ length: S }, (_, s) => s * V), "int32");
  return tf.gather(rows.reshape([S * V]), offsets.add(tokens)) as tf.Tensor1D;
}

/** The plain composite of {@linkcode sampleRows}. */
export function sampleRowsComposite(given: SampledLogits, sampling: RowSampling): DrawnRows {
  const { logits, forbidden, seen, uniforms } = given;
  const { greedy, temperature, repetitionPenalty } = sampling;
  const V = logits.shape[1];
  const divisor = greedy ? 1 : temperature;
  const { tokens, record, after } = tf.tidy(() => {
    const plain = logits.div<tf.Tensor2D>(divisor); // [S, V]
    let scores: tf.Tensor = logits;
    if (seen !== null) {
      const lowered = tf.where(
        logits.less(0),
        logits.mul(repetitionPenalty),
        logits.div(repetitionPenalty),
      );
      scores = tf.where(seen.greater(0), lowered, logits);
    }
    const allowed = scores.add<tf.Tensor2D>(forbidden); // [S, V]
    let tokens: tf.Tensor1D, filtered: tf.Tensor;
    if (greedy) {
      tokens = tf.argMax(allowed, 1) as tf.Tensor1D;
      filtered = tf.zerosLike(logits.slice([0, 0], [-1, 1]).squeeze([1]));
    } else {
      const weights = filteredWeights(allowed.div(divisor), sampling); // [S, V]
      const cumulative = tf.cumsum(weights, 1); // [S, V]
      const total = cumulative.slice([0, V - 1], [-1, 1]); // [S, 1]
      const uniform = tf.tensor2d(
        uniforms.map((value) => Math.min(value, BELOW_ONE)),
        [uniforms.length, 1],
      );
      tokens = cumulative.lessEqual(total.mul(uniform)).cast("float32").sum(1)
        .minimum(V - 1).cast("int32") as tf.Tensor1D; // [S]
      filtered = pick(weights, tokens).log().sub(total.squeeze([1]).log()); // [S]
    }
    const logProbs = pick(plain, tokens).sub(tf.logSumExp(plain, 1)); // [S]
    const record = tf.stack([tokens.cast("float32"), logProbs, filtered]) as tf.Tensor2D; // [3, S]
    const after = seen === null
      ? []
      : [seen.maximum<tf.Tensor2D>(tf.oneHot(tokens, V).cast("float32"))]; // [S, V]
    return { tokens, record, after };
  });
  return { tokens, record, seen: after[0] ?? null };
}

/**
 * Draws a token from each row. On webgpu one dispatch, on other backends some dozen ops.
 *
 * @param given logits and what each sequence adds to them; freed by the caller, as is the outcome
 */
export function sampleRows(given: SampledLogits, sampling: RowSampling): DrawnRows {
  return fusedKernels()?.sampleRows?.(given, sampling) ?? sampleRowsComposite(given, sampling);
}
