/**
 * Chooses tokens on the device, so that nothing is read back between steps. Filters and random
 * numbers are those of the host, so the tokens are the same, up to rounding.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../device/read_back.ts";
import { FORBIDDEN, sampleRows } from "../ops/sampling.ts";
import type { SamplingParameters } from "./sampling_filters.ts";

// S sequences, V vocabulary

/** What was chosen in one step, one entry a sequence. */
export interface ChosenRow {
  readonly tokens: readonly number[];
  readonly logProbs: readonly number[];
  readonly filteredLogProbs: readonly number[];
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
    for (const id of forbidden) mask[id] = FORBIDDEN;
    this.#forbidden = tf.tensor1d(mask);
  }

  /**
   * Sets the tokens before the first step, for the repetition penalty.
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
    const { temperature = 1, topK = 0, topP = 1, minP = 0 } = this.parameters;
    const { tokens, record, seen } = sampleRows(
      { logits, forbidden: this.#forbidden, seen: this.#seen, uniforms },
      {
        greedy: this.parameters.greedy === true || temperature === 0,
        ...{ temperature, topK, topP, minP },
        repetitionPenalty: this.parameters.repetitionPenalty ?? 1,
      },
    );
    if (seen !== this.#seen) this.#seen?.dispose();
    this.#seen = seen;
    this.#pending.push(record);
    this.#tokens.push(tokens);
    return tokens;
  }

  /** Reads the tokens chosen since the last read, one entry a step, in one read-back. */
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

  /** Keeps only these sequences, [S′] int32. */
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
