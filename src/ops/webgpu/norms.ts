/**
 * RMSNorm and LayerNorm in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { columnSum, sumRows } from "./product/column_sum.ts";
import { PACKED_FORMATS } from "../half/packed_weight.ts";
import { type HalfFormat, halfFormat } from "../half/precision.ts";
import { canStoreHalf, storedFormat } from "./runtime/half_storage.ts";
import { type GpuLaunch, launch } from "./runtime/launch.ts";
import { type LaneValue, laneValue, sumOfLane } from "./runtime/lane_value.ts";
import {
  type Binding,
  type BindingType,
  cachedProgram,
  grid,
  type Program,
} from "./runtime/program.ts";
import { type RowReduction, rowReduction } from "./runtime/row_reduction.ts";

// R rows, C columns; statistics are [R, 2]: the mean (0 for RMSNorm) and 1 / the spread

type Value = LaneValue["type"];

/** `half`: the format that y is rounded to and stored in. */
function forwardProgram(
  rows: RowReduction,
  value: Value,
  centred: boolean,
  half: HalfFormat | null,
): Program {
  const kind = `${centred ? "layer" : "rms"} norm${half === null ? "" : ` ${half}`}`;
  const name = `${kind} ${value} ${rows.workgroup}`;
  const y: Binding = half === null
    ? { name: "y", type: value, write: true }
    : { name: "y", type: PACKED_FORMATS[half], write: true, rounded: true };
  return cachedProgram(name, () => ({
    bindings: [
      { name: "x", type: value },
      { name: "weight", type: value },
      ...centred ? [{ name: "bias", type: value } as const] : [],
      y,
      { name: "statistics", type: "f32", write: true },
    ],
    parameters: { R: "u32", columns: "u32", C: "f32", eps: "f32" },
    rounds: half === null ? undefined : { format: half, type: value },
    workgroup: rows.workgroup,
    declarations: rows.declarations,
    body: `${rows.begin}
      let at = row * p.columns;
      var mean = 0.0;
      ${
      centred
        ? `var sum = ${value}();
      for (var c = first; c < p.columns; c += step) { sum += load_x(at + c); }
      mean = total(${sumOfLane(value, "sum")}, lane) / p.C;`
        : ""
    }
      var squares = ${value}();
      for (var c = first; c < p.columns; c += step) {
        let d = load_x(at + c) - mean;
        squares += d * d;
      }
      let inverse = inverseSqrt(total(${sumOfLane(value, "squares")}, lane) / p.C + p.eps);
      for (var c = first; c < p.columns; c += step) {
        let normed = (load_x(at + c) - mean) * inverse * load_weight(c);
        store_y(at + c, normed${centred ? " + load_bias(c)" : ""});
      }
      if (${rows.writes}) {
        statistics[2u * row] = mean;
        statistics[2u * row + 1u] = inverse;
      }`,
  }));
}

/** `dy`: how the gradient is read; `adds`: adds to dx. */
function dxProgram(
  rows: RowReduction,
  [value, dy]: readonly [Value, BindingType],
  centred: boolean,
  adds: boolean,
): Program {
  const kind = `${centred ? "layer" : "rms"} norm dx${adds ? " add" : ""}`;
  const name = `${kind} ${dy} ${value} ${rows.workgroup}`;
  return cachedProgram(name, () => ({
    bindings: [
      { name: "dy", type: dy },
      { name: "x", type: value },
      { name: "weight", type: value },
      { name: "statistics", type: "f32" },
      { name: "dx", type: value, write: true },
    ],
    parameters: { R: "u32", columns: "u32", C: "f32" },
    workgroup: rows.workgroup,
    declarations: rows.declarations,
    body: `${rows.begin}
      let at = row * p.columns;
      let mean = load_statistics(2u * row);
      let inverse = load_statistics(2u * row + 1u);
      var sum = ${value}();
      var products = ${value}();
      for (var c = first; c < p.columns; c += step) {
        let g = load_dy(at + c) * load_weight(c);
        sum += g;
        products += g * (load_x(at + c) - mean);
      }
      let slope = total(${sumOfLane(value, "products")}, lane) / p.C * inverse * inverse;
      let offset = ${centred ? `total(${sumOfLane(value, "sum")}, lane) / p.C` : "0.0"};
      for (var c = first; c < p.columns; c += step) {
        let g = load_dy(at + c) * load_weight(c);
        dx[at + c] ${adds ? "+=" : "="} inverse * (g - offset - (load_x(at + c) - mean) * slope);
      }`,
  }));
}

/** Chunks of rows for which the weight's gradient is summed separately. */
const CHUNKS = 32;

/** [R, C] → [S, C]: sums of dy · x̂ over the rows s, s + S, … */
function dWeightProgram(value: Value, dy: BindingType): Program {
  return cachedProgram(`norm dweight ${dy} ${value}`, () => ({
    bindings: [
      { name: "dy", type: dy },
      { name: "x", type: value },
      { name: "statistics", type: "f32" },
      { name: "dw", type: value, write: true },
    ],
    parameters: { R: "u32", columns: "u32", S: "u32" },
    workgroup: 32,
    body: `
      if (index >= p.columns * p.S) { return; }
      let column = index % p.columns;
      var sum = ${value}();
      for (var row = index / p.columns; row < p.R; row += p.S) {
        let i = row * p.columns + column;
        let scaled = (load_x(i) - load_statistics(2u * row)) * load_statistics(2u * row + 1u);
        sum += load_dy(i) * scaled;
      }
      dw[index] = sum;`,
  }));
}

/** How programs of rows read a gradient. */
const typeOf = (dy: tf.TensorInfo, value: Value): BindingType =>
  value === "f32" ? value : storedFormat(dy) ?? value;

/** Its buffer, in that form. */
const held = (l: GpuLaunch, dy: tf.TensorInfo, value: Value): GPUBuffer =>
  value === "f32" ? l.buffer(dy) : l.words(dy);

/**
 * Either norm: x [..., C], weight [C] and for LayerNorm bias [C] → [..., C]. In a 16-bit pass only
 * products read the result, and they round it: it is rounded once, as it is stored.
 */
function norm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | null, eps: number): tf.Tensor {
  const C = weight.size;
  const R = x.size / C;
  const { width, type: value } = laneValue(C);
  const columns = C / width;
  const centred = bias !== null;
  const name = centred ? "GpuLayerNorm" : "GpuRmsNorm";
  const half = canStoreHalf(x.shape) ? halfFormat() : null;
  return launch({
    name,
    inputs: centred ? { x, weight, bias } : { x, weight },
    saveInputs: ["x", "weight"],
    saveOutputs: [false, true],
    run: (l) => {
      const reduction = rowReduction(l.isFallback, columns);
      const y = l.halfOutput(x.shape, half);
      const statistics = l.output([R, 2]);
      const inputs = centred ? [x, weight, bias] : [x, weight];
      l.dispatch(
        forwardProgram(reduction, value, centred, half),
        [...inputs.map((tensor) => l.buffer(tensor)), l.words(y), l.buffer(statistics)],
        { R, columns, C, eps },
        reduction.groups(R),
        { flops: (centred ? 8 : 6) * x.size },
      );
      return [y, statistics];
    },
    gradient: (dy, [x, weight, statistics]) => ({
      x: (sums) =>
        launch({
          name: `${name}Dx`,
          inputs: { dy, x, weight, statistics },
          run: (l) => {
            const reduction = rowReduction(l.isFallback, columns);
            const dx = l.target(x.shape, sums?.x);
            l.dispatch(
              dxProgram(reduction, [value, typeOf(dy, value)], centred, sums?.x !== undefined),
              [held(l, dy, value), ...[x, weight, statistics, dx].map((one) => l.buffer(one))],
              { R, columns, C },
              reduction.groups(R),
              { flops: 11 * x.size },
            );
            return [dx];
          },
        }),
      weight: () =>
        launch({
          name: `${name}Dweight`,
          inputs: { dy, x, statistics },
          run: (l) => {
            const S = Math.min(CHUNKS, R);
            const partial = l.output([S, C]);
            l.dispatch(
              dWeightProgram(value, typeOf(dy, value)),
              [held(l, dy, value), ...[x, statistics, partial].map((one) => l.buffer(one))],
              { R, columns, S },
              grid(columns * S, 32),
              { flops: 4 * x.size },
            );
            const dw = sumRows(l, partial, S, C);
            l.backend.disposeData(partial.dataId);
            return [dw];
          },
        }),
      bias: () => columnSum(dy),
    }),
  });
}

/** RMSNorm: x [..., C], weight [C] → [..., C]. */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor {
  return norm(x, weight, null, eps);
}

/** LayerNorm: x [..., C], weight [C], bias [C] → [..., C]. */
export function layerNorm(
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor,
  eps: number,
): tf.Tensor {
  return norm(x, weight, bias, eps);
}
