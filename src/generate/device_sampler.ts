/**
 * Choosing tokens on the device, so that nothing is read back between steps. The same filters, the
 * same random numbers and therefore the same tokens as on the host, up to rounding.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import type { SamplingParameters } from "./sampling_filters.ts";

// S sequences, V vocabulary

/** Stands for −∞, which WGSL need not handle. */
const OUT = -1e30;
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

/** What was chosen in one step, one entry a sequence. */
export interface ChosenRow {
  readonly tokens: readonly number[];
  readonly logProbs: readonly number[];
  readonly filteredLogProbs: readonly number[];
}

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
      // Lower thresholds hold more: how many suffice says where to go on.
      const suffice = held.greaterEqual(wanted).cast("float32").sum(1, true); // [S, 1]
      return low.add(suffice.mul(width)); // [S, 1]
    });
  }
  return low;
}

/**
 * Unnormalised probabilities after the filters, in Transformers' order: top-k, top-p, min-p.
 *
 * @param scaled logits / temperature, forbidden ones at −1e30, [S, V]
 * @returns exp(scaled − max) where kept, else 0, [S, V]
 */
export function filteredWeights(scaled: tf.Tensor2D, parameters: SamplingParameters): tf.Tensor2D {
  const { topK = 0, topP = 1, minP = 0 } = parameters;
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

/** Chooses tokens step by step and keeps them on the device until they are read. */
export class DeviceSampler {
  readonly #forbidden: tf.Tensor1D;
  readonly #pending: tf.Tensor2D[] = [];
  readonly #tokens: tf.Tensor1D[] = [];
  #seen: tf.Tensor2D | null = null;

  /**
   * @param vocabulary V
   * @param parameters filters; `greedy` takes the likeliest
   * @param forbidden ids that are never chosen
   */
  constructor(
    readonly vocabulary: number,
    readonly parameters: SamplingParameters & { greedy?: boolean },
    forbidden: readonly number[],
  ) {
    const mask = new Float32Array(vocabulary);
    for (const id of forbidden) mask[id] = OUT;
    this.#forbidden = tf.tensor1d(mask);
  }

  /**
   * Says what the sequences hold before the first step, for the repetition penalty.
   *
   * @param texts ids, one list a sequence
   */
  start(texts: readonly (readonly number[])[]): void {
    if ((this.parameters.repetitionPenalty ?? 1) === 1) return;
    const seen = new Float32Array(texts.length * this.vocabulary);
    texts.forEach((ids, s) => {
      for (const id of ids) seen[s * this.vocabulary + id] = 1;
    });
    this.#seen = tf.tensor2d(seen, [texts.length, this.vocabulary]);
  }

  /**
   * Chooses the next token of each sequence.
   *
   * @param logits [S, V]
   * @param uniforms one of [0, 1) a sequence
   * @returns [S]; the sampler frees it when it is read
   */
  choose(logits: tf.Tensor2D, uniforms: readonly number[]): tf.Tensor1D {
    const { temperature = 1, repetitionPenalty = 1 } = this.parameters;
    const greedy = this.parameters.greedy === true || temperature === 0;
    const divisor = greedy ? 1 : temperature;
    const [tokens, record] = tf.tidy(() => {
      const plain = logits.div<tf.Tensor2D>(divisor); // [S, V]
      let scores: tf.Tensor = logits;
      if (this.#seen !== null) {
        const lowered = tf.where(
          logits.less(0),
          logits.mul(repetitionPenalty),
          logits.div(repetitionPenalty),
        );
        scores = tf.where(this.#seen.greater(0), lowered, logits);
      }
      const allowed = scores.add<tf.Tensor2D>(this.#forbidden); // [S, V]
      let tokens: tf.Tensor1D, filtered: tf.Tensor;
      if (greedy) {
        tokens = tf.argMax(allowed, 1) as tf.Tensor1D;
        filtered = tf.zerosLike(logits.slice([0, 0], [-1, 1]).squeeze([1]));
      } else {
        const weights = filteredWeights(allowed.div(divisor), this.parameters); // [S, V]
        const cumulative = tf.cumsum(weights, 1); // [S, V]
        const total = cumulative.slice([0, this.vocabulary - 1], [-1, 1]); // [S, 1]
        const uniform = tf.tensor2d(
          uniforms.map((value) => Math.min(value, BELOW_ONE)),
          [uniforms.length, 1],
        );
        tokens = cumulative.lessEqual(total.mul(uniform)).cast("float32").sum(1)
          .minimum(this.vocabulary - 1).cast("int32") as tf.Tensor1D; // [S]
        filtered = pick(weights, tokens).log().sub(total.squeeze([1]).log()); // [S]
      }
      const logProbs = pick(plain, tokens).sub(tf.logSumExp(plain, 1)); // [S]
      const record = tf.stack([tokens.cast("float32"), logProbs, filtered]) as tf.Tensor2D; // [3, S]
      return [tokens, record] as [tf.Tensor1D, tf.Tensor2D];
    });
    this.#remember(tokens);
    this.#pending.push(record);
    this.#tokens.push(tokens);
    return tokens;
  }

  /** Notes the new tokens for the repetition penalty. */
  #remember(tokens: tf.Tensor1D): void {
    if (this.#seen === null) return;
    const before = this.#seen;
    this.#seen = tf.tidy(() =>
      before.maximum(tf.oneHot(tokens, this.vocabulary).cast("float32")) as tf.Tensor2D
    );
    before.dispose();
  }

  /** Reads what was chosen since the last read, one entry a step, with one wait. */
  async read(): Promise<ChosenRow[]> {
    const values = await readBack(this.#pending);
    tf.dispose([...this.#pending, ...this.#tokens]);
    this.#pending.length = this.#tokens.length = 0;
    return values.map((row) => {
      const S = row.length / 3;
      return {
        tokens: Array.from(row.subarray(0, S)),
        logProbs: Array.from(row.subarray(S, 2 * S)),
        filteredLogProbs: Array.from(row.subarray(2 * S)),
      };
    });
  }

  /** Goes on with these of the sequences alone, [S′] int32. */
  keep(sequences: tf.Tensor1D): void {
    if (this.#seen === null) return;
    const before = this.#seen;
    this.#seen = tf.gather(before, sequences);
    before.dispose();
  }

  /** Frees everything. */
  dispose(): void {
    tf.dispose([this.#forbidden, ...this.#pending, ...this.#tokens]);
    this.#seen?.dispose();
    this.#pending.length = this.#tokens.length = 0;
  }
}
