/**
 * Rows of a matrix by their numbers: the embedding (torch.nn.functional.embedding), and rows selected
 * or replaced at distinct positions. Gradients are the same bits every time: rows that repeat are
 * summed by a product, not by atomics.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { PackedWeight, type Weight } from "./half/packed_weight.ts";
import { unpackWeight, unpackWords } from "./half/unpack_weight.ts";
import { withGradient } from "./tape/with_gradient.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { checkRowIds } from "./row_ids.ts";

// V rows of a table or N rows of a matrix, N ids or M chosen rows, U distinct ids, C channels

/**
 * The table's gradient: row u of the result is the sum of dy's rows whose id is u. Written.
 *
 * @param dy [N, C]
 * @param ids [N]
 * @param rows V
 * @returns [V, C]
 */
function embeddingGradient(dy: tf.Tensor2D, ids: Int32Array, rows: number): tf.Tensor2D {
  return tf.tidy(() => {
    const slots = new Map<number, number>();
    for (const id of ids) if (!slots.has(id)) slots.set(id, slots.size);
    const U = slots.size;
    const selection = new Float32Array(U * ids.length);
    ids.forEach((id, i) => selection[slots.get(id)! * ids.length + i] = 1);
    const sums = tf.matMul(tf.tensor2d(selection, [U, ids.length]), dy); // [U, C]
    const positions = tf.tensor2d(Int32Array.from(slots.keys()), [U, 1], "int32");
    return tf.scatterND(positions, sums, [rows, dy.shape[1]]) as tf.Tensor2D; // [V, C]
  });
}

/**
 * The rows of `table` at `ids`.
 *
 * @param table [V, C]; a packed one is frozen
 * @param ids [N], each in 0 … V − 1
 * @returns [N, C]
 */
export function embedding(table: Weight, ids: Int32Array): tf.Tensor2D {
  if (table instanceof PackedWeight) {
    return fusedKernels()?.gatherPackedRows(table, ids) ??
      tf.tidy(() => gatherPackedRowsComposite(table, tf.tensor1d(ids, "int32")));
  }
  return fusedKernels()?.gatherRows(table, ids) ?? embeddingComposite(table, ids);
}

/** The plain composite of {@linkcode embedding}. */
export function embeddingComposite(table: tf.Tensor, ids: Int32Array): tf.Tensor2D {
  return withGradient([table], () => ({
    value: tf.gather(table, tf.tensor1d(ids, "int32")),
    gradient: (dy) => [embeddingGradient(dy as tf.Tensor2D, ids, table.shape[0])],
  }));
}

/**
 * The plain composite of {@linkcode embedding} for a packed table. Its words are gathered as they
 * are if each row has words of its own; otherwise all of it is widened first.
 *
 * @param ids int32 [N]
 */
export function gatherPackedRowsComposite(table: PackedWeight, ids: tf.Tensor1D): tf.Tensor2D {
  const [V, C] = table.shape;
  // tfjs's gather on webgpu takes integers through float32, which has no room for all their bits.
  if (C % 2 === 1 || tf.getBackend() === "webgpu") {
    return tf.gather(unpackWeight(table), ids) as tf.Tensor2D;
  }
  const words = tf.gather(table.words.reshape([V, C / 2]), ids); // [N, C / 2]
  return unpackWords(words.reshape([-1]), table.format, [ids.size, C]) as tf.Tensor2D;
}

/**
 * Rows of a table at ids that are on the device, outside the tape.
 *
 * @param table [V, C]
 * @param ids int32 [N]
 * @returns [N, C]
 */
export function embeddingOnDevice(table: Weight, ids: tf.Tensor1D): tf.Tensor2D {
  if (table instanceof PackedWeight) {
    return fusedKernels()?.gatherPackedRowsAt?.(table, ids) ??
      tf.tidy(() => gatherPackedRowsComposite(table, ids));
  }
  return tf.gather(table, ids) as tf.Tensor2D;
}

/** `rows` written at `positions` of a zero matrix with `total` rows. */
function scatterRows(rows: tf.Tensor, positions: Int32Array, total: number): tf.Tensor {
  if (positions.length === 0) return tf.zeros([total, rows.shape[1]!]);
  const indices = tf.tensor2d(positions, [positions.length, 1], "int32");
  return tf.scatterND(indices, rows, [total, rows.shape[1]!]); // [total, C]
}

/**
 * The rows of `x` at `positions`, which must all differ.
 *
 * @param x [N, C]
 * @param positions [M]
 * @returns [M, C]
 */
export function selectRows(x: tf.Tensor2D, positions: Int32Array): tf.Tensor2D {
  return fusedKernels()?.gatherRows(x, positions) ?? selectRowsComposite(x, positions);
}

/** The plain composite of {@linkcode selectRows}. */
export function selectRowsComposite(x: tf.Tensor2D, positions: Int32Array): tf.Tensor2D {
  checkRowIds(positions, x.shape[0]);
  return withGradient([x], () => ({
    value: tf.gather(x, tf.tensor1d(positions, "int32")),
    gradient: (dy) => [scatterRows(dy, positions, x.shape[0])], // [N, C]
  }));
}

/**
 * `x` with the rows at `positions` (which must all differ) replaced by `rows`.
 *
 * @param x [N, C]
 * @param rows [M, C]
 * @param positions [M]
 * @returns [N, C]
 */
export function replaceRows(
  x: tf.Tensor2D,
  rows: tf.Tensor2D,
  positions: Int32Array,
): tf.Tensor2D {
  return fusedKernels()?.replaceRows(x, rows, positions) ??
    replaceRowsComposite(x, rows, positions);
}

/** The plain composite of {@linkcode replaceRows}. */
export function replaceRowsComposite(
  x: tf.Tensor2D,
  rows: tf.Tensor2D,
  positions: Int32Array,
): tf.Tensor2D {
  const total = x.shape[0];
  checkRowIds(positions, total);
  const kept = (): tf.Tensor2D => {
    const values = new Float32Array(total).fill(1);
    for (const position of positions) values[position] = 0;
    return tf.tensor2d(values, [total, 1]); // [N, 1]
  };
  return withGradient([x, rows], () => ({
    value: x.mul(kept()).add(scatterRows(rows, positions, total)),
    gradient: (dy) => [dy.mul(kept()), tf.gather(dy, tf.tensor1d(positions, "int32"))],
  }));
}
