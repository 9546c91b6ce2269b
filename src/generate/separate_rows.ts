/**
 * Running sequences as separate rows, in tensors that grow by concatenation: for backends that
 * cannot write tensors in place.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { AttentionLayout } from "../ops/attention/attention_layout.ts";
import type { DecodePass, DecodeState, PrefillCache, PrefilledSequence } from "./decode_state.ts";
import { GrowingCache } from "./key_value_cache.ts";

// S running sequences, B rows and T tokens of the prefill, L tokens so far, C channels

/** For each token of each sequence, its row in the flattened prefill; arbitrary for padding. */
function gatherIndices(
  sequences: readonly PrefilledSequence[],
  tokens: number,
  length: number,
): Int32Array {
  const indices = new Int32Array(sequences.length * length);
  sequences.forEach(({ row, start, prefixEnd, branchStart, branchEnd }, s) => {
    let at = (s + 1) * length - (prefixEnd - start) - (branchEnd - branchStart);
    for (let token = start; token < prefixEnd; token++) indices[at++] = row * tokens + token;
    for (let token = branchStart; token < branchEnd; token++) indices[at++] = row * tokens + token;
  });
  return indices;
}

/** Each sequence has a row with its own copy of the prefix. */
export class SeparateRows implements DecodeState {
  readonly #cache = new GrowingCache();
  #starts: Int32Array;
  #positions: Int32Array;
  #length: number;

  /** @param prefill its tensors are freed */
  constructor(prefill: PrefillCache, sequences: readonly PrefilledSequence[]) {
    const lengths = sequences.map(({ start, prefixEnd, branchStart, branchEnd }) =>
      prefixEnd - start + branchEnd - branchStart
    );
    const length = Math.max(...lengths);
    const [B, T, K, D] = prefill.keys[0].shape;
    const asTheyAre = length === T && sequences.length === B &&
      sequences.every(({ row, branchStart, branchEnd }, s) =>
        row === s && branchStart === branchEnd
      );
    const indices = asTheyAre ? null : tf.tensor1d(gatherIndices(sequences, T, length), "int32");
    const rows = (tensor: tf.Tensor4D): tf.Tensor4D =>
      indices === null
        ? tensor.clone()
        : tf.tidy(() =>
          tf.gather(tensor.reshape([B * T, K * D]), indices)
            .reshape([sequences.length, length, K, D]) as tf.Tensor4D
        );
    try {
      prefill.keys.forEach((keys, block) => {
        tf.tidy(() => void this.#cache.extend(block, rows(keys), rows(prefill.values[block])));
        tf.dispose([keys, prefill.values[block]]);
      });
    } catch (error) {
      this.dispose();
      throw error;
    } finally {
      indices?.dispose();
      prefill.dispose();
    }
    this.#length = length;
    this.#starts = Int32Array.from(lengths, (own) => length - own);
    this.#positions = Int32Array.from(sequences, ({ position }) => position);
  }

  step({ model, options }: DecodePass, embeddings: tf.Tensor2D): tf.Tensor2D {
    this.#length++;
    const layout = AttentionLayout.decode(this.#starts, this.#length);
    const pass = () =>
      model.decode(
        embeddings.expandDims(1) as tf.Tensor3D,
        this.#positions,
        layout,
        this.#cache,
        options,
      ).squeeze([1]) as tf.Tensor2D; // [S, C]
    try {
      const hidden = tf.tidy(pass);
      this.#positions = this.#positions.map((position) => position + 1);
      return hidden;
    } finally {
      layout.dispose();
    }
  }

  /**
   * Adds the sequences of another state after its own; the other one is empty then.
   *
   * @param other of the same model
   */
  absorb(other: SeparateRows): void {
    const length = Math.max(this.#length, other.#length);
    const own = length - this.#length, others = length - other.#length;
    this.#cache.absorb(other.#cache, own, others);
    this.#starts = Int32Array.of(
      ...this.#starts.map((start) => start + own),
      ...other.#starts.map((start) => start + others),
    );
    this.#positions = Int32Array.of(...this.#positions, ...other.#positions);
    this.#length = length;
  }

  keep(sequences: Int32Array): void {
    this.#cache.keepRows(sequences);
    this.#starts = sequences.map((s) => this.#starts[s]);
    this.#positions = sequences.map((s) => this.#positions[s]);
  }

  dispose(): void {
    this.#cache.dispose();
  }
}
