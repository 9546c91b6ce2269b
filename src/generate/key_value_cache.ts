/**
 * Keys and values of a generation, one pair of tensors a block.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { KeyValueCache } from "../model/language_model.ts";

// B batch, T tokens so far, K key/value heads, D head dim

/** A cache that grows by concatenation. It owns its tensors. */
export class GrowingCache implements KeyValueCache {
  readonly #keys: tf.Tensor4D[] = [];
  readonly #values: tf.Tensor4D[] = [];

  /** Adds a block's new keys and values, [B, T, K, D], and returns all of them. */
  extend(block: number, keys: tf.Tensor4D, values: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D] {
    const grow = (list: tf.Tensor4D[], added: tf.Tensor4D) => {
      const before = list[block];
      list[block] = tf.keep(before ? tf.concat([before, added], 1) : added.clone());
      before?.dispose();
      return list[block];
    };
    return [grow(this.#keys, keys), grow(this.#values, values)];
  }

  /** Keeps only these rows of the batch. */
  keepRows(rows: Int32Array): void {
    tf.tidy(() => {
      const indices = tf.tensor1d(rows, "int32");
      for (const list of [this.#keys, this.#values]) {
        list.forEach((tensor, block) => {
          list[block] = tf.keep(tf.gather(tensor, indices));
          tensor.dispose();
        });
      }
    });
  }

  /**
   * Adds another cache's rows after its own; the other one is empty then.
   *
   * @param ownPadding tokens that its own rows get at the left
   * @param otherPadding tokens that the other's rows get at the left
   */
  absorb(other: GrowingCache, ownPadding: number, otherPadding: number): void {
    const padded = (tensor: tf.Tensor4D, padding: number): tf.Tensor4D =>
      padding === 0 ? tensor : tensor.pad([[0, 0], [padding, 0], [0, 0], [0, 0]]);
    tf.tidy(() => {
      for (const [own, added] of [[this.#keys, other.#keys], [this.#values, other.#values]]) {
        own.forEach((tensor, block) => {
          own[block] = tf.keep(
            tf.concat4d([padded(tensor, ownPadding), padded(added[block], otherPadding)], 0),
          );
          tensor.dispose();
        });
      }
    });
    other.dispose();
  }

  /** Frees everything. */
  dispose(): void {
    tf.dispose([...this.#keys, ...this.#values]);
    this.#keys.length = this.#values.length = 0;
  }
}
