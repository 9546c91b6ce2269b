/**
 * Which keys each query may see, as two ranges: what is common to a row (its prefix) and what
 * belongs to the query's own branch. That covers causal attention, left padding, cached decoding
 * and several branches behind one prefix without a [T, T] mask in memory.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Rotation } from "./rotary_angles.ts";

// B batch, Tq queries, Tk keys, N queries of all rows

/**
 * Query i of row b sees key j where
 * `starts[b] ≤ j < min(prefixEnds[b], ends[b, i])` or
 * `max(branchStarts[b, i], prefixEnds[b]) ≤ j < ends[b, i]`: two ranges that never overlap.
 * A row without branches has an empty prefix (`prefixEnds[b] = starts[b]`).
 * The result of a query that sees nothing (padding) is finite and has no meaning.
 *
 * Rows are equally long, [B, T], or joined: one behind the other without padding, [1, N], so that
 * only attention needs to know the rows. Queries and keys of a row are numbered from 0 either way.
 */
export class AttentionLayout {
  #mask: tf.Tensor4D | null = null;
  #pairs: number | null = null;
  #whenDisposed: (() => void)[] = [];

  /**
   * @param batch B
   * @param queries Tq; of joined rows, of the longest
   * @param keys Tk; of joined rows, of the longest
   * @param starts [B] first key that is not padding
   * @param prefixEnds [B] end of the keys that all branches of the row see
   * @param branchStarts [N] first key of the query's own branch
   * @param ends [N] one past the last key of the query's own branch that it sees
   * @param rowOffsets [B + 1] where joined rows begin, and N; null: rows of Tq queries each
   */
  constructor(
    readonly batch: number,
    readonly queries: number,
    readonly keys: number,
    readonly starts: Int32Array,
    readonly prefixEnds: Int32Array,
    readonly branchStarts: Int32Array,
    readonly ends: Int32Array,
    readonly rowOffsets: Int32Array | null = null,
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
   * Causal attention over joined rows.
   *
   * @param rows of each, the tokens of its prefix (0: it has no branches) and for each of its T tokens
   *   the first token of its branch
   */
  static joined(
    rows: readonly {
      readonly prefixLength: number;
      readonly branchStarts: ArrayLike<number>;
    }[],
  ): AttentionLayout {
    const offsets = new Int32Array(rows.length + 1);
    rows.forEach(({ branchStarts }, b) => offsets[b + 1] = offsets[b] + branchStarts.length);
    const N = offsets[rows.length];
    const branchStarts = new Int32Array(N), ends = new Int32Array(N);
    rows.forEach((row, b) => branchStarts.set(row.branchStarts, offsets[b]));
    let longest = 0;
    for (let b = 0; b < rows.length; b++) {
      const length = offsets[b + 1] - offsets[b];
      longest = Math.max(longest, length);
      for (let i = 0; i < length; i++) ends[offsets[b] + i] = i + 1;
    }
    const prefixEnds = Int32Array.from(rows, ({ prefixLength }) => prefixLength);
    const starts = new Int32Array(rows.length);
    return new AttentionLayout(
      rows.length,
      longest,
      longest,
      starts,
      prefixEnds,
      branchStarts,
      ends,
      offsets,
    );
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

  /** N: queries of all rows. */
  get totalQueries(): number {
    return this.rowOffsets?.[this.batch] ?? this.batch * this.queries;
  }

  /** The number of row b's first query among those of all rows. */
  firstQuery(b: number): number {
    return this.rowOffsets?.[b] ?? b * this.queries;
  }

  /** Queries of row b. */
  queriesOf(b: number): number {
    return this.firstQuery(b + 1) - this.firstQuery(b);
  }

  /** Keys of row b. */
  keysOf(b: number): number {
    return this.rowOffsets === null ? this.keys : this.queriesOf(b);
  }

  /** The two ranges of keys, [first, end), that query i of row b sees; empty if end ≤ first. */
  ranges(b: number, i: number): [[number, number], [number, number]] {
    const at = this.firstQuery(b) + i;
    const end = this.ends[at];
    const prefixEnd = this.prefixEnds[b];
    return [
      [this.starts[b], Math.min(prefixEnd, end)],
      [Math.max(this.branchStarts[at], prefixEnd), end],
    ];
  }

  /** The layout of row b alone. */
  row(b: number): AttentionLayout {
    const first = this.firstQuery(b), queries = this.queriesOf(b);
    return new AttentionLayout(
      1,
      queries,
      this.keysOf(b),
      this.starts.slice(b, b + 1),
      this.prefixEnds.slice(b, b + 1),
      this.branchStarts.slice(first, first + queries),
      this.ends.slice(first, first + queries),
    );
  }

  /** The number of pairs of a query and a key that it sees. */
  get pairs(): number {
    if (this.#pairs === null) {
      this.#pairs = 0;
      for (let b = 0; b < this.batch; b++) {
        for (let i = 0; i < this.queriesOf(b); i++) {
          for (const [start, end] of this.ranges(b, i)) this.#pairs += Math.max(0, end - start);
        }
      }
    }
    return this.#pairs;
  }

  /**
   * The additive mask of the composite, 0 for keys that are seen and −1e30 for others: [B, 1, Tq, Tk].
   *
   * @throws {Error} if rows are joined: then each has its own mask
   */
  mask(): tf.Tensor4D {
    if (this.rowOffsets !== null) {
      throw new Error("Cannot mask joined rows: ask for row(b).mask()");
    }
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

  /** @throws {Error} if the layout was made for tensors of other dims */
  assertFits(batch: number, queries: number, keys: number): void {
    const N = this.totalQueries;
    const wanted = this.rowOffsets === null ? [this.batch, this.queries, this.keys] : [1, N, N];
    if (wanted[0] === batch && wanted[1] === queries && wanted[2] === keys) return;
    throw new Error(
      `Cannot attend: the layout is for [${wanted.join(", ")}], the tensors are ` +
        `[${batch}, ${queries}, ${keys}] (batch, queries, keys)`,
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
  /** Rows. */
  readonly B: number;
  /** Queries of a row; of joined rows, of the longest. */
  readonly Tq: number;
  /** Keys of a row; of joined rows, of the longest. */
  readonly Tk: number;
  /** Queries of all rows. */
  readonly N: number;
  /** The first two dims of tensors of queries: [B, Tq], or [1, N] of joined rows. */
  readonly ofQueries: readonly [number, number];
  /** The first two dims of tensors of keys. */
  readonly ofKeys: readonly [number, number];
  /** Query heads. */
  readonly H: number;
  /** Key/value heads. */
  readonly K: number;
  /** Head dim. */
  readonly D: number;
}

/**
 * The dims of q [B, Tq, H, D] and k [B, Tk, K, D], or of joined rows [1, N, …].
 *
 * @throws {Error} if the layout or the angles were made for other dims
 */
export function attentionDims(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  layout: AttentionLayout | null,
  rotation?: Rotation,
): AttentionDims {
  const [batch, queries, H, D] = q.shape;
  const [, keyCount, K] = k.shape;
  layout?.assertFits(batch, queries, keyCount);
  if (rotation !== undefined) {
    const { angles, keys } = rotation;
    const wanted = [batch, queries, 1, D / 2];
    if (angles.cos.shape.some((size, i) => size !== wanted[i]) || (keys && keyCount !== queries)) {
      throw new Error(
        `Cannot attend: angles [${angles.cos.shape}] do not turn queries [${q.shape}]` +
          `${keys ? ` and keys [${k.shape}]` : ""}; want [${wanted}]` +
          `${keys ? ", and as many keys as queries" : ""}.`,
      );
    }
  }
  const { batch: B, queries: Tq, keys: Tk } = layout ?? { batch, queries, keys: keyCount };
  const ofQueries = [batch, queries] as const, ofKeys = [batch, keyCount] as const;
  return { B, Tq, Tk, N: batch * queries, ofQueries, ofKeys, H, K, D };
}
