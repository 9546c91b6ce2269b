/**
 * Rows of a matrix at distinct positions, and their way back.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { checkRowIds } from "./row_ids.ts";
import { withGradient } from "./tape/with_gradient.ts";
import { fusedKernels } from "./fused_kernels.ts";

// N rows, M chosen rows, C channels

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
