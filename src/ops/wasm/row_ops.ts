/**
 * Gathering, scattering and replacing rows on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { checkRowIds } from "../row_ids.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { launch } from "./runtime/launch.ts";

// N rows, M replaced rows, V rows of a table, C channels

/** `sum`, or zeros [rows, C], with `values` [n, C] added at `ids` [n], in order; ids may repeat. */
function scatterAddRows(
  module: KernelModule,
  values: tf.Tensor,
  ids: Int32Array,
  rows: number,
  sum?: tf.Tensor,
): tf.Tensor2D {
  const C = values.size / Math.max(1, ids.length);
  checkRowIds(ids, rows);
  return launch(module, {
    name: "NanoScatterAddRows",
    inputs: { values },
    run: (l) => {
      const width = values.shape[values.rank - 1];
      const out = l.target([rows, width], sum);
      if (sum === undefined) {
        module.call("nano_fill", { n: rows * width, x: l.address(out), value: 0 });
      }
      l.withIntegers([ids], ([address]) =>
        module.call("nano_scatter_add_rows", {
          ...{ n: ids.length, C, ids: address },
          ...{ rows: l.address(values), out: l.address(out) },
        }));
      return [out];
    },
  });
}

/** table [V, C] at `ids` [n] → [n, C]; the gradient is {@link scatterAddRows}. */
export function gatherRows(
  module: KernelModule,
  table: tf.Tensor,
  ids: Int32Array,
): tf.Tensor2D {
  const [V, C] = table.shape;
  checkRowIds(ids, V);
  return launch(module, {
    name: "NanoGatherRows",
    inputs: { table },
    run: (l) => {
      const out = l.output([ids.length, C]);
      l.withIntegers([ids], ([address]) =>
        module.call("nano_gather_rows", {
          ...{ n: ids.length, C, ids: address },
          ...{ table: l.address(table), out: l.address(out) },
        }));
      return [out];
    },
    gradient: (dy) => ({ table: (sums) => scatterAddRows(module, dy, ids, V, sums?.table) }),
  });
}

/** x [N, C] with the rows at `ids` (all different) replaced by `rows` [M, C] → [N, C]. */
export function replaceRows(
  module: KernelModule,
  x: tf.Tensor2D,
  rows: tf.Tensor2D,
  ids: Int32Array,
): tf.Tensor2D {
  const [N, C] = x.shape;
  checkRowIds(ids, N);
  /** A copy of `from` with the rows at `ids` taken from `rows`, or zeroed. */
  const write = (from: tf.Tensor, values?: tf.Tensor): tf.Tensor2D =>
    launch(module, {
      name: values === undefined ? "NanoZeroRows" : "NanoReplaceRows",
      inputs: values === undefined ? { x: from } : { x: from, rows: values },
      run: (l) => {
        const out = l.output([N, C]);
        module.call("nano_copy", { n: N * C, x: l.address(from), y: l.address(out) });
        l.withIntegers([ids], ([address]) => {
          if (values === undefined) {
            module.call("nano_zero_rows", { n: ids.length, C, ids: address, out: l.address(out) });
          } else {
            module.call("nano_scatter_rows", {
              ...{ n: ids.length, C, ids: address },
              ...{ rows: l.address(values), out: l.address(out) },
            });
          }
        });
        return [out];
      },
      gradient: (dy) => ({
        x: () => write(dy),
        rows: () => gatherRows(module, dy, ids),
      }),
    });
  return write(x, rows);
}
