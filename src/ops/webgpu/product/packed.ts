/**
 * Frozen weights in 16 bits in WGSL: products read the words and widen them.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { checkRowIds } from "../../row_ids.ts";
import type { PackedWeight } from "../../half/packed_weight.ts";
import { type GpuLaunch, launch } from "../runtime/launch.ts";
import { cachedProgram, grid } from "../runtime/program.ts";

// V rows of a table, C channels

/** Records a gather: the rows of a packed table [V, C] at `count` ids. */
function recordGather(
  l: GpuLaunch,
  { format, shape: [, C] }: PackedWeight,
  words: tf.TensorInfo,
  ids: GPUBuffer,
  count: number,
): tf.TensorInfo {
  const out = l.output([count, C]);
  if (count === 0) return out;
  const program = cachedProgram(`gather packed rows ${format}`, () => ({
    bindings: [
      { name: "words", type: format },
      { name: "ids", type: "i32" },
      { name: "out", type: "vec4<f32>", write: true },
    ],
    parameters: { columns: "u32", count: "u32" },
    workgroup: 64,
    body: `
      if (index >= p.count) { return; }
      let id = u32(load_ids(index / p.columns));
      out[index] = load_words(id * p.columns + index % p.columns);`,
  }));
  const columns = C / 4;
  l.dispatch(
    program,
    [l.buffer(words), ids, l.buffer(out)],
    { columns, count: count * columns },
    grid(count * columns, 64),
    { bytes: count * (6 * C + 4) },
  );
  return out;
}

/** A frozen table [V, C] in 16 bits at `ids` [n] → [n, C]. */
export function gatherPackedRows(table: PackedWeight, ids: Int32Array): tf.Tensor2D | null {
  const [V, C] = table.shape;
  checkRowIds(ids, V);
  if (C % 4 !== 0) return null;
  const { words } = table;
  return launch({
    name: "GpuGatherPackedRows",
    inputs: { words },
    run: (l) => [recordGather(l, table, words, l.integers(ids), ids.length)],
  });
}

/** The same at ids that are on the device: int32 [n]. */
export function gatherPackedRowsAt(table: PackedWeight, ids: tf.Tensor1D): tf.Tensor2D | null {
  if (table.shape[1] % 4 !== 0) return null;
  const { words } = table;
  return launch({
    name: "GpuGatherPackedRowsAt",
    inputs: { words, ids },
    run: (l) => [recordGather(l, table, words, l.buffer(ids), ids.size)],
  });
}
