/**
 * Running sequences with shared prefixes, in fixed buffers on the wasm heap: a prompt's keys and
 * values are stored once for all its completions, and new ones are written in place.
 *
 * A row of the buffers holds a prefix, then a region of equal size for each sequence of that row.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { wasmHeap } from "../device/wasm_heap.ts";
import type { KeyValueCache } from "../model/language_model.ts";
import { AttentionLayout } from "../ops/attention/attention_layout.ts";
import type { DecodePass, DecodeState, PrefillCache, PrefilledSequence } from "./decode_state.ts";

// S running sequences, R rows, Q sequences of the fullest row, K key/value heads, D head dim,
// C channels

/** Tokens for which a region has room at first; doubled when it is full. */
const FIRST_ROOM = 32;

/** A row of the buffers. */
interface Row {
  readonly start: number;
  readonly prefixEnd: number;
}

/** A sequence's region: `length` tokens from token `offset` of its row. */
interface Region {
  row: number;
  offset: number;
  length: number;
  position: number;
}

/** Source of a region's tokens. */
type Source = Readonly<Pick<Region, "row" | "offset">>;

/** The values of a tensor on the wasm heap, as a new view, since the heap may have grown. */
function heapView(tensor: tf.Tensor): Float32Array {
  const heap = wasmHeap();
  if (heap === null) throw new Error("Cannot use shared rows: the wasm backend is not up");
  const { memoryOffset } = heap.backend.dataIdMap.get(tensor.dataId);
  return new Float32Array(heap.memory.buffer, memoryOffset, tensor.size);
}

/** Sequences of a row side by side as the queries of one attention. */
export class SharedRows implements DecodeState, KeyValueCache {
  #keys: tf.Tensor4D[];
  #values: tf.Tensor4D[];
  #rows: Row[];
  #regions: Region[];
  /** Tokens that a region has room for. */
  #room: number;
  /** Tokens of a row of the buffers. */
  #capacity: number;
  /** Queries of the current step, [R, Q] of sequence numbers; −1 if a row has fewer. */
  #queries = new Int32Array(0);

  /**
   * @param prefill its tensors are freed
   * @param sequences in the order of their rows
   * @param maxNewTokens room that will ever be needed
   */
  constructor(
    prefill: PrefillCache,
    sequences: readonly PrefilledSequence[],
    readonly maxNewTokens: number,
  ) {
    this.#keys = prefill.keys.slice();
    this.#values = prefill.values.slice();
    prefill.keys.length = prefill.values.length = 0;
    const [B, T] = this.#keys[0].shape;
    this.#capacity = T;
    this.#room = 0;
    this.#rows = Array.from({ length: B }, () => ({ start: 0, prefixEnd: 0 }));
    for (const { row, start, prefixEnd } of sequences) this.#rows[row] = { start, prefixEnd };
    this.#regions = sequences.map(({ row, branchStart, branchEnd, position }) => ({
      row,
      offset: branchStart,
      length: branchEnd - branchStart,
      position,
    }));
    const own = Math.max(...this.#regions.map(({ length }) => length));
    try {
      this.#layOut(own + Math.min(FIRST_ROOM, maxNewTokens));
    } catch (error) {
      this.dispose(); // The prefill's tensors are ours already.
      throw error;
    }
  }

  /**
   * Adds the sequences of another state after its own; the other one is empty then.
   *
   * @param other of the same model
   */
  absorb(other: SharedRows): void {
    const ownRows = this.#rows.length;
    this.#rows = [...this.#rows, ...other.#rows];
    this.#regions = [
      ...this.#regions,
      ...other.#regions.map((region) => ({ ...region, row: region.row + ownRows })),
    ];
    other.#rows = [];
    other.#regions = [];
    this.#layOut(Math.max(this.#room, other.#room), { ownRows, other });
  }

  /**
   * Moves everything into new buffers, with `room` tokens a region and no row without sequences.
   *
   * @param added state whose buffers hold the rows from `ownRows` on; its tensors are freed
   */
  #layOut(room: number, added?: { readonly ownRows: number; readonly other: SharedRows }): void {
    const perRow = this.#countPerRow();
    const kept = perRow.flatMap((count, row) => count > 0 ? [row] : []);
    const newRow = new Map(kept.map((row, i) => [row, i]));
    const prefix = Math.max(...kept.map((row) => this.#rows[row].prefixEnd));
    const capacity = prefix + Math.max(...perRow) * room;
    const sources: Source[] = this.#regions.map(({ row, offset }) => ({ row, offset }));
    const filled = new Int32Array(kept.length);
    for (const region of this.#regions) {
      region.row = newRow.get(region.row)!;
      region.offset = prefix + filled[region.row]++ * room;
    }
    const oldRows = this.#rows, oldCapacity = this.#capacity;
    this.#rows = kept.map((row) => oldRows[row]);
    this.#capacity = capacity;
    this.#room = room;
    const move = (tensors: tf.Tensor4D[], further: readonly tf.Tensor4D[] = []) => {
      tensors.forEach((old, block) => {
        const [, , K, D] = old.shape;
        const width = K * D;
        const moved: tf.Tensor4D = tf.keep(tf.zeros([kept.length, capacity, K, D]));
        const own = heapView(old), to = heapView(moved);
        const theirs = further.length > 0 ? heapView(further[block]) : own;
        /** Values of a row from a token on. */
        const tokensOf = (row: number, token: number, count: number) => {
          const isOwn = added === undefined || row < added.ownRows;
          const first = isOwn
            ? row * oldCapacity + token
            : (row - added.ownRows) * added.other.#capacity + token;
          return (isOwn ? own : theirs).subarray(first * width, (first + count) * width);
        };
        kept.forEach((row, i) => {
          const { start, prefixEnd } = oldRows[row];
          to.set(tokensOf(row, start, prefixEnd - start), (i * capacity + start) * width);
        });
        this.#regions.forEach(({ row, offset, length }, s) => {
          const source = tokensOf(sources[s].row, sources[s].offset, length);
          to.set(source, (row * capacity + offset) * width);
        });
        old.dispose();
        tensors[block] = moved;
      });
    };
    move(this.#keys, added === undefined ? [] : added.other.#keys);
    move(this.#values, added === undefined ? [] : added.other.#values);
    added?.other.dispose();
  }

  #countPerRow(): number[] {
    const counts = new Array<number>(this.#rows.length).fill(0);
    for (const { row } of this.#regions) counts[row]++;
    return counts;
  }

  step({ model, options }: DecodePass, embeddings: tf.Tensor2D): tf.Tensor2D {
    const fullest = this.#regions.reduce((most, { length }) => Math.max(most, length), 0);
    if (fullest === this.#room) this.#layOut(2 * this.#room);
    const R = this.#rows.length, Q = Math.max(...this.#countPerRow()), S = this.#regions.length;
    this.#queries = new Int32Array(R * Q).fill(-1);
    const next = new Int32Array(R);
    const places = this.#regions.map(({ row }, s) => {
      const place = row * Q + next[row]++;
      this.#queries[place] = s;
      return place;
    });
    const branchStarts = new Int32Array(R * Q), ends = new Int32Array(R * Q);
    const positions = new Int32Array(R * Q);
    this.#queries.forEach((s, place) => {
      const { prefixEnd } = this.#rows[Math.floor(place / Q)];
      const region = s < 0 ? null : this.#regions[s];
      // A slot without a sequence attends to the prefix; its result is dropped.
      branchStarts[place] = region?.offset ?? prefixEnd;
      ends[place] = region ? region.offset + region.length + 1 : prefixEnd;
      positions[place] = region?.position ?? 0;
    });
    const layout = new AttentionLayout(
      R,
      Q,
      this.#capacity,
      Int32Array.from(this.#rows, ({ start }) => start),
      Int32Array.from(this.#rows, ({ prefixEnd }) => prefixEnd),
      branchStarts,
      ends,
    );
    const full = R * Q === S;
    const pass = () => {
      const padded = full ? embeddings : tf.gather(
        embeddings,
        tf.tensor1d(this.#queries.map((s) => Math.max(s, 0)), "int32"),
      ); // [R·Q, C]
      const out = model.decode(
        padded.reshape([R, Q, -1]) as tf.Tensor3D,
        positions,
        layout,
        this,
        options,
      ).reshape([R * Q, -1]) as tf.Tensor2D; // [R·Q, C]
      return full ? out : tf.gather(out, tf.tensor1d(places, "int32")); // [S, C]
    };
    let hidden: tf.Tensor2D;
    try {
      hidden = tf.tidy(pass);
    } finally {
      layout.dispose();
    }
    for (const region of this.#regions) {
      region.length++;
      region.position++;
    }
    return hidden;
  }

  /** Writes the new keys and values, [R, Q, K, D], into the regions; returns the whole buffers. */
  extend(block: number, keys: tf.Tensor4D, values: tf.Tensor4D): [tf.Tensor4D, tf.Tensor4D] {
    const width = keys.shape[2] * keys.shape[3];
    const write = (buffer: tf.Tensor4D, added: tf.Tensor4D) => {
      const to = heapView(buffer), from = heapView(added);
      this.#queries.forEach((s, place) => {
        if (s < 0) return;
        const { row, offset, length } = this.#regions[s];
        const at = (row * this.#capacity + offset + length) * width;
        to.set(from.subarray(place * width, (place + 1) * width), at);
      });
    };
    write(this.#keys[block], keys);
    write(this.#values[block], values);
    return [this.#keys[block], this.#values[block]];
  }

  keep(sequences: Int32Array): void {
    const before = this.#countPerRow();
    this.#regions = Array.from(sequences, (s) => this.#regions[s]);
    const after = this.#countPerRow();
    // Rows without sequences waste work in each step; copying once is cheaper.
    const emptied = after.some((count) => count === 0);
    if (emptied || 2 * Math.max(...after) <= Math.max(...before)) this.#layOut(this.#room);
  }

  dispose(): void {
    tf.dispose([...this.#keys, ...this.#values]);
    this.#keys = [];
    this.#values = [];
  }
}
