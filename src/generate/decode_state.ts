/**
 * Running sequences: keys and values of their tokens so far, extended by one token a step.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { KeyValueCache } from "../model/language_model.ts";
import type { PassOptions, VLM } from "../model/vlm.ts";

// S running sequences, B batch, T tokens, K key/value heads, D head dim, C channels

/** What {@linkcode DecodeState.step} works with. */
export interface DecodePass {
  readonly model: VLM;
  readonly options: PassOptions;
}

/** The running sequences. It owns its tensors. */
export interface DecodeState {
  /**
   * Takes one new token of each sequence.
   *
   * @param embeddings [S, C] in the order of the sequences
   * @returns hidden states after the final norm, [S, C]
   */
  step(pass: DecodePass, embeddings: tf.Tensor2D): tf.Tensor2D;
  /** Keeps only these sequences. Their order does not change. */
  keep(sequences: Int32Array): void;
  /** Frees everything. */
  dispose(): void;
}

/** Catches the keys and values of a prefill, [B, T, K, D] a block. */
export class PrefillCache implements KeyValueCache {
  readonly keys: tf.Tensor4D[] = [];
  readonly values: tf.Tensor4D[] = [];

  extend(block: number, keys: tf.Tensor4D, values: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D] {
    this.keys[block] = tf.keep(keys.clone());
    this.values[block] = tf.keep(values.clone());
    return [keys, values];
  }

  /** Frees everything. */
  dispose(): void {
    tf.dispose([...this.keys, ...this.values]);
    this.keys.length = this.values.length = 0;
  }
}

/** A prompt that was read, and the copies of it that are written from there. */
export interface PrefilledSequence {
  /** Row of the prefill. */
  readonly row: number;
  readonly start: number;
  readonly prefixEnd: number;
  readonly branchStart: number;
  readonly branchEnd: number;
  /** Position of the next token. */
  readonly position: number;
}
