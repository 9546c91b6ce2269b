/**
 * Sums over rows in WGSL, in two stages: first each chunk of rows, then the chunks.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { HalfFormat } from "../../half/precision.ts";
import { type GpuLaunch, launch } from "../runtime/launch.ts";
import { type LaneValue, laneValue } from "../runtime/lane_value.ts";
import { halfOf, storedFormat } from "../runtime/half_storage.ts";
import { type BindingType, cachedProgram, grid, type Program } from "../runtime/program.ts";

// R rows, C columns, S chunks of rows

/** Chunks of rows, at most. */
const CHUNKS = 32;
const WORKGROUP = 32;

/** The rounding of a stage. */
interface Stage {
  readonly half?: HalfFormat;
  readonly roundsTerms: boolean;
  readonly roundsSum: boolean;
}

/** [R, C] → [S, C]: chunk s sums the rows s, s + S, s + 2 S, … */
function partialSums(
  type: LaneValue["type"],
  read: BindingType,
  { half, roundsTerms, roundsSum }: Stage,
): Program {
  const rounding = half ? ` ${half} ${roundsTerms} ${roundsSum}` : "";
  return cachedProgram(`column sum ${read} ${type}${rounding}`, () => ({
    bindings: [{ name: "x", type: read, rounded: roundsTerms }, { name: "y", type, write: true }],
    parameters: { R: "u32", C: "u32", S: "u32" },
    rounds: half && { format: half, type },
    workgroup: WORKGROUP,
    body: `
      if (index >= p.C * p.S) { return; }
      let column = index % p.C;
      let chunk = index / p.C;
      var sum = ${type}();
      for (var row = chunk; row < p.R; row += p.S) { sum += load_x(row * p.C + column); }
      y[index] = ${roundsSum ? "round_half(sum)" : "sum"};`,
  }));
}

/**
 * Records the sum over the rows of `x` [R, C] and returns it, [C].
 *
 * @param half the format that terms and sum are rounded to
 */
export function sumRows(
  l: GpuLaunch,
  x: tf.TensorInfo,
  R: number,
  C: number,
  half?: HalfFormat,
): tf.TensorInfo {
  const { width, type } = laneValue(C);
  const columns = C / width;
  const out = l.output([C]);
  const stage = (from: tf.TensorInfo, to: tf.TensorInfo, rows: number, S: number): void => {
    const stored = width === 4 ? storedFormat(from) : undefined;
    const rounding = {
      half,
      // Numbers that are stored in the format are rounded.
      roundsTerms: half !== undefined && from === x && halfOf(from) !== half,
      roundsSum: half !== undefined && to === out,
    };
    l.dispatch(
      partialSums(type, stored ?? type, rounding),
      [stored ? l.words(from) : l.buffer(from), l.buffer(to)],
      { R: rows, C: columns, S },
      grid(columns * S, WORKGROUP),
      { flops: rows * C, bytes: ((stored ? 2 : 4) * rows + 4 * S) * C },
    );
  };
  if (R <= CHUNKS) {
    stage(x, out, R, 1);
    return out;
  }
  const partial = l.output([CHUNKS, C]);
  stage(x, partial, R, CHUNKS);
  stage(partial, out, CHUNKS, 1);
  l.backend.disposeData(partial.dataId);
  return out;
}

/** Sum over all but the last dimension: [..., C] → [C]; `half`: R(Σ R(x)). */
export function columnSum(x: tf.Tensor, half?: HalfFormat): tf.Tensor {
  const C = x.shape[x.rank - 1];
  return launch({
    name: "GpuColumnSum",
    inputs: { x },
    run: (l) => [sumRows(l, x, x.size / C, C, half)],
  });
}
