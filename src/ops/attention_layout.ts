/**
 * Which keys each query may see, as two ranges: what is common to a row (its prefix) and what
 * belongs to the query's own branch. That covers causal attention, left padding, cached decoding
 * and several branches behind one prefix without a [T, T] mask in memory.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Rotation } from "./rotary_angles.ts";

// B batch, Tq queries, Tk keys

/**
 * Query i of row b sees key j where
 * `starts[b] ≤ j < min(prefixEnds[b], ends[b, i])` or
 * `max(branchStarts[b, i], prefixEnds[b]) ≤ j < ends[b, i]`: two ranges that never overlap.
 * A row without branches has an empty prefix (`prefixEnds[b] = starts[b]`).
 * What a query that sees nothing gives (padding) is finite and means nothing.
 */
export class AttentionLayout {
  #mask: tf.Tensor4D | null = null;
  #pairs: number | null = null;
  #whenDisposed: (() => void)[] = [];

  /**
   * @param batch B
   * @param queries Tq
   * @param keys Tk
   * @param starts [B] first key that is no padding
   * @param prefixEnds [B] end of the keys that all branches of the row see
   * @param branchStarts [B·Tq] first key of the query's own branch
   * @param ends [B·Tq] one past the last key of the query's own branch that it sees
   */
  constructor(
    readonly batch: number,
    readonly queries: number,
    readonly keys: number,
    readonly starts: Int32Array,
    readonly prefixEnds: Int32Array,
    readonly branchStarts: Int32Array,
    readonly ends: Int32Array,
  ) {}

  /**
   * Causal attention over left-padded rows: query i sees keys starts[b] … i.
   *
   * @param starts [B] number of padding tokens on the left of each row
   * @param tokens T
   */
  static causal(starts: Int32Array, tokens: number): AttentionLayout {
    const batch = starts.length;
    const branchStarts = new Int32Array(batch * tokens);
    const ends = new Int32Array(batch * tokens);
    for (let b = 0; b < batch; b++) {
      for (let i = 0; i < tokens; i++) {
        branchStarts[b * tokens + i] = starts[b];
        ends[b * tokens + i] = i < starts[b] ? starts[b] : i + 1;
      }
    }
    return new AttentionLayout(batch, tokens, tokens, starts, starts.slice(), branchStarts, ends);
  }

  /**
   * One new query a row against a cache: it sees keys starts[b] … length − 1.
   *
   * @param starts [B] number of padding tokens on the left of each row
   * @param length keys in the cache, the new one included
   */
  static decode(starts: Int32Array, length: number): AttentionLayout {
    const batch = starts.length;
    const ends = new Int32Array(batch).fill(length);
    return new AttentionLayout(batch, 1, length, starts, starts.slice(), starts.slice(), ends);
  }

  /** The two ranges of keys, [first, end), that query i of row b sees; empty where end ≤ first. */
  ranges(b: number, i: number): [[number, number], [number, number]] {
    const end = this.ends[b * this.queries + i];
    const prefixEnd = this.prefixEnds[b];
    return [
      [this.starts[b], Math.min(prefixEnd, end)],
      [Math.max(this.branchStarts[b * this.queries + i], prefixEnd), end],
    ];
  }

  /** How many pairs of a query and a key that it sees there are. */
  get pairs(): number {
    if (this.#pairs === null) {
      this.#pairs = 0;
      for (let b = 0; b < this.batch; b++) {
        for (let i = 0; i < this.queries; i++) {
          for (const [start, end] of this.ranges(b, i)) this.#pairs += Math.max(0, end - start);
        }
      }
    }
    return this.#pairs;
  }

  /** The additive mask of the composite, 0 where seen and −1e30 elsewhere: [B, 1, Tq, Tk]. */
  mask(): tf.Tensor4D {
    if (this.#mask === null) {
      const { batch, queries, keys } = this;
      const values = new Float32Array(batch * queries * keys).fill(-1e30);
      for (let b = 0; b < batch; b++) {
        for (let i = 0; i < queries; i++) {
          const [first, second] = this.ranges(b, i);
          const offset = (b * queries + i) * keys;
          values.fill(0, offset + first[0], offset + Math.max(...first));
          values.fill(0, offset + second[0], offset + Math.max(...second));
        }
      }
      this.#mask = tf.keep(tf.tensor4d(values, [batch, 1, queries, keys]));
    }
    return this.#mask;
  }

  /** @throws {Error} where the layout was made for other dims */
  assertFits(batch: number, queries: number, keys: number): void {
    if (this.batch === batch && this.queries === queries && this.keys === keys) return;
    throw new Error(
      `Cannot attend: the layout is for [${this.batch}, ${this.queries}, ${this.keys}], the ` +
        `tensors are [${batch}, ${queries}, ${keys}] (batch, queries, keys).`,
    );
  }

  /** Calls `free` when the layout is disposed: for what kernels keep of it. */
  onDispose(free: () => void): void {
    this.#whenDisposed.push(free);
  }

  /** Frees the composite's mask and what kernels keep. */
  dispose(): void {
    this.#mask?.dispose();
    this.#mask = null;
    for (const free of this.#whenDisposed) free();
    this.#whenDisposed = [];
  }
}

/** The dims of attention. */
export interface AttentionDims {
  readonly B: number;
  readonly Tq: number;
  readonly Tk: number;
  /** Query heads. */
  readonly H: number;
  /** Key/value heads. */
  readonly K: number;
  /** Head dim. */
  readonly D: number;
}

/**
 * The dims of q [B, Tq, H, D] and k [B, Tk, K, D].
 *
 * @throws {Error} where the layout or the angles were made for others
 */
export function attentionDims(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): AttentionDims {
  const [B, Tq, H, D] = q.shape;
  const [, Tk, K] = k.shape;
  layout?.assertFits(B, Tq, Tk);
  if (rotation !== undefined) {
    const { angles, keys } = rotation;
    const wanted = [B, Tq, 1, D / 2];
    if (angles.cos.shape.some((size, i) => size !== wanted[i]) || (keys && Tk !== Tq)) {
      throw new Error(
        `Cannot attend: angles [${angles.cos.shape}] do not turn queries [${q.shape}]` +
          `${keys ? ` and keys [${k.shape}]` : ""}; want [${wanted}]` +
          `${keys ? ", and as many keys as queries" : ""}.`,
      );
    }
  }
  return { B, Tq, Tk, H, K, D };
}
