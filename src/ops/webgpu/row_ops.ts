/**
 * Ops in WGSL that move rows: gathering, scattering and replacing.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { checkRowIds } from "../row_ids.ts";
import { type GpuLaunch, launch } from "./runtime/launch.ts";
import { halfOf, storedFormat } from "./runtime/half_storage.ts";
import { type LaneValue, laneValue } from "./runtime/lane_value.ts";
import { type BindingType, cachedProgram, grid } from "./runtime/program.ts";

// N rows, C channels, U distinct ids

const WORKGROUP = 64;

/** How a shader that takes values of `type` reads or writes a tensor. */
function storedType(x: tf.TensorInfo, type: LaneValue["type"]): BindingType {
  return type === "f32" ? type : storedFormat(x) ?? type;
}

/** The tensor's buffer, in that form. */
function held(l: GpuLaunch, x: tf.TensorInfo, type: LaneValue["type"]): GPUBuffer {
  return type === "f32" ? l.buffer(x) : l.words(x);
}

/** Groups the positions by id: those of the u-th distinct id are `offsets[u]` … `offsets[u + 1]` − 1. */
function groupById(ids: Int32Array): { ids: number[]; table: Int32Array } {
  const places = new Map<number, number[]>();
  ids.forEach((id, i) => {
    const found = places.get(id);
    if (found) found.push(i);
    else places.set(id, [i]);
  });
  const U = places.size;
  // [ids U | offsets U + 1 | positions N]
  const table = new Int32Array(2 * U + 1 + ids.length);
  let u = 0, at = 0;
  for (const [id, positions] of places) {
    table[u] = id;
    table[U + u] = at;
    table.set(positions, 2 * U + 1 + at);
    at += positions.length;
    u++;
  }
  table[2 * U] = at;
  return { ids: [...places.keys()], table };
}

/** `sum`, or zeros [rows, C], with the rows of `values` [n, C] added at `ids` [n]; ids may repeat. */
function scatterAddRows(
  values: tf.Tensor,
  ids: Int32Array,
  rows: number,
  sum?: tf.Tensor,
): tf.Tensor2D {
  const C = values.shape[values.rank - 1];
  checkRowIds(ids, rows);
  const { width, type } = laneValue(C);
  return launch({
    name: "GpuScatterAddRows",
    inputs: { values },
    run: (l) => {
      const out = sum === undefined ? l.zeros([rows, C]) : l.target([rows, C], sum);
      if (ids.length === 0) return [out];
      const groups = groupById(ids);
      const U = groups.ids.length;
      const read = storedType(values, type);
      const program = cachedProgram(`scatter add rows ${read} ${type}`, () => ({
        bindings: [
          { name: "values", type: read },
          { name: "groups_of", type: "i32" },
          { name: "out", type, write: true },
        ],
        parameters: { columns: "u32", U: "u32" },
        workgroup: WORKGROUP,
        body: `
      if (index >= p.U * p.columns) { return; }
      let u = index / p.columns;
      let column = index % p.columns;
      var sum = ${type}();
      for (var at = load_groups_of(p.U + u); at < load_groups_of(p.U + u + 1u); at++) {
        let i = u32(load_groups_of(2u * p.U + 1u + u32(at)));
        sum += load_values(i * p.columns + column);
      }
      out[u32(load_groups_of(u)) * p.columns + column] += sum;`,
      }));
      const columns = C / width;
      l.dispatch(
        program,
        [held(l, values, type), l.integers(groups.table), l.buffer(out)],
        { columns, U },
        grid(U * columns, WORKGROUP),
        { flops: ids.length * C, bytes: 4 * ((ids.length + 2 * U) * C + groups.table.length) },
      );
      return [out];
    },
  });
}

/** table [V, C] at `ids` [n] → [n, C]; the gradient is {@link scatterAddRows}. */
export function gatherRows(table: tf.Tensor, ids: Int32Array): tf.Tensor2D {
  const [V, C] = table.shape;
  checkRowIds(ids, V);
  const { width, type } = laneValue(C);
  return launch({
    name: "GpuGatherRows",
    inputs: { table },
    run: (l) => {
      const out = l.halfOutput([ids.length, C], halfOf(table));
      if (ids.length === 0) return [out];
      const moved = storedType(out, type);
      const program = cachedProgram(`gather rows ${moved}`, () => ({
        bindings: [
          { name: "table", type: moved },
          { name: "ids", type: "i32" },
          { name: "out", type: moved, write: true },
        ],
        parameters: { columns: "u32", count: "u32" },
        workgroup: WORKGROUP,
        body: `
      if (index >= p.count) { return; }
      let id = u32(load_ids(index / p.columns));
      store_out(index, load_table(id * p.columns + index % p.columns));`,
      }));
      const columns = C / width;
      const count = ids.length * columns;
      l.dispatch(
        program,
        [held(l, table, type), l.integers(ids), held(l, out, type)],
        { columns, count },
        grid(count, WORKGROUP),
        { bytes: ids.length * ((moved === type ? 8 : 4) * C + 4) },
      );
      return [out];
    },
    gradient: (dy) => ({ table: (sums) => scatterAddRows(dy, ids, V, sums?.table) }),
  });
}

/** x [N, C] with the rows at `ids` (all different) replaced by `rows` [M, C], or by zeros. */
function recordReplacement(
  l: GpuLaunch,
  x: tf.Tensor,
  rows: tf.Tensor | null,
  ids: Int32Array,
): tf.TensorInfo {
  const [N, C] = x.shape;
  const { width, type } = laneValue(C);
  const sources = new Int32Array(N).fill(-1);
  ids.forEach((id, i) => sources[id] = i);
  const out = l.output([N, C]);
  const program = cachedProgram(`replace rows ${type}${rows === null ? " zeros" : ""}`, () => ({
    bindings: [
      { name: "x", type },
      ...rows === null ? [] : [{ name: "rows", type } as const],
      { name: "sources", type: "i32" },
      { name: "out", type, write: true },
    ],
    parameters: { columns: "u32", count: "u32" },
    workgroup: WORKGROUP,
    body: `
      if (index >= p.count) { return; }
      let source = load_sources(index / p.columns);
      if (source < 0) { out[index] = load_x(index); }
      else { out[index] = ${
      rows === null ? `${type}()` : "load_rows(u32(source) * p.columns + index % p.columns)"
    }; }`,
  }));
  const columns = C / width;
  const inputs = rows === null ? [x] : [x, rows];
  l.dispatch(
    program,
    [...inputs.map((tensor) => l.buffer(tensor)), l.integers(sources), l.buffer(out)],
    { columns, count: N * columns },
    grid(N * columns, WORKGROUP),
    { bytes: 4 * (2 * (N - (rows === null ? ids.length / 2 : 0)) * C + N) },
  );
  return out;
}

/** x [N, C] with the rows at `ids` (all different) replaced by `rows` [M, C] → [N, C]. */
export function replaceRows(x: tf.Tensor2D, rows: tf.Tensor2D, ids: Int32Array): tf.Tensor2D {
  if (ids.length === 0) return x.clone();
  checkRowIds(ids, x.shape[0]);
  return launch({
    name: "GpuReplaceRows",
    inputs: { x, rows },
    run: (l) => [recordReplacement(l, x, rows, ids)],
    gradient: (dy) => ({
      x: () =>
        launch({
          name: "GpuZeroRows",
          inputs: { dy },
          run: (l) => [recordReplacement(l, dy, null, ids)],
        }),
      rows: () => gatherRows(dy, ids),
    }),
  });
}
