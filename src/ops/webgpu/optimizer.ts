/**
 * AdamW in place and the gradient norm in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AdamWStep } from "../adamw.ts";
import { currentLaunch, launch } from "./launch.ts";
import {
  cachedProgram,
  grid,
  type LaneValue,
  laneValue,
  type Program,
  sumOfLane,
} from "./program.ts";
import { rowReduction } from "./row_reduction.ts";

const WORKGROUP = 256;

/**
 * Updates parameter, first and second moment in place; all four tensors have one shape.
 *
 * @returns false, with nothing done, where one of the three shares its values with another tensor
 */
export function adamW(
  parameter: tf.Tensor,
  gradient: tf.Tensor,
  firstMoment: tf.Tensor,
  secondMoment: tf.Tensor,
  numbers: AdamWStep,
): boolean {
  const l = currentLaunch();
  const written = [parameter, firstMoment, secondMoment];
  if (!written.every(({ dataId }) => l.backend.refCount(dataId) === 1)) return false;
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = numbers;
  const { width, type } = laneValue(parameter.size);
  const program = cachedProgram(`adamw ${type}`, () => ({
    bindings: [
      { name: "gradient", type },
      { name: "w", type, write: true },
      { name: "m", type, write: true },
      { name: "v", type, write: true },
    ],
    parameters: {
      count: "u32",
      keep: "f32",
      rate: "f32",
      beta1: "f32",
      beta2: "f32",
      correction: "f32",
      eps: "f32",
      scale: "f32",
    },
    workgroup: WORKGROUP,
    body: `
      if (index >= p.count) { return; }
      let g = load_gradient(index) * p.scale;
      let first = p.beta1 * m[index] + (1.0 - p.beta1) * g;
      let second = p.beta2 * v[index] + (1.0 - p.beta2) * g * g;
      m[index] = first;
      v[index] = second;
      w[index] = p.keep * w[index] - p.rate * first / (sqrt(second) * p.correction + p.eps);`,
  }));
  const count = parameter.size / width;
  l.dispatch(
    program,
    [gradient, ...written].map((tensor) => l.buffer(tensor)),
    {
      count,
      keep: 1 - learningRate * weightDecay,
      rate: learningRate / (1 - beta1 ** step),
      beta1,
      beta2,
      correction: 1 / Math.sqrt(1 - beta2 ** step),
      eps,
      scale: gradientScale,
    },
    grid(count, WORKGROUP),
    { changing: true, flops: 15 * parameter.size, bytes: 4 * 7 * parameter.size },
  );
  l.submitIfDue();
  // What the host remembers of an earlier reading is no longer true.
  for (const { dataId } of written) l.backend.tensorMap.get(dataId).values = null;
  return true;
}

/** Lanes that sum a gradient's squares, each for itself. */
const SUMMING_LANES = 1024;

/** x → the sum of the squares that each of {@link SUMMING_LANES} lanes met. */
function sumsOfSquares(type: LaneValue["type"]): Program {
  return cachedProgram(`sums of squares ${type}`, () => ({
    bindings: [{ name: "x", type }, { name: "sums", type: "f32", write: true }],
    parameters: { count: "u32", at: "u32" },
    workgroup: 64,
    body: `
      var sum = ${type}();
      for (var i = index; i < p.count; i += ${SUMMING_LANES}u) {
        let x = load_x(i);
        sum += x * x;
      }
      sums[p.at + index] = ${sumOfLane(type, "sum")};`,
  }));
}

/** √Σ g² over all tensors, as a scalar on the device. */
export function gradientNorm(gradients: readonly tf.Tensor[]): tf.Scalar {
  return launch({
    name: "GpuGradientNorm",
    inputs: Object.fromEntries(gradients.map((gradient, i) => [`g${i}`, gradient])),
    run: (l) => {
      const sums = l.output([gradients.length * SUMMING_LANES]);
      gradients.forEach((gradient, i) => {
        const { width, type } = laneValue(gradient.size);
        l.dispatch(
          sumsOfSquares(type),
          [l.buffer(gradient), l.buffer(sums)],
          { count: gradient.size / width, at: i * SUMMING_LANES },
          grid(SUMMING_LANES, 64),
          { flops: 2 * gradient.size, bytes: 4 * (gradient.size + SUMMING_LANES) },
        );
      });
      // One row of many columns: a whole workgroup's work on any adapter.
      const rows = rowReduction(false, 0);
      const norm = l.output([]);
      const root = cachedProgram(`root of the sum ${rows.workgroup}`, () => ({
        bindings: [{ name: "sums", type: "f32" }, { name: "norm", type: "f32", write: true }],
        parameters: { R: "u32", count: "u32" },
        workgroup: rows.workgroup,
        declarations: rows.declarations,
        body: `${rows.begin}
      var sum = 0.0;
      for (var i = first; i < p.count; i += step) { sum += load_sums(i); }
      sum = total(sum, lane);
      if (${rows.writes}) { norm[0] = sqrt(sum); }`,
      }));
      l.dispatch(
        root,
        [l.buffer(sums), l.buffer(norm)],
        { R: 1, count: gradients.length * SUMMING_LANES },
        rows.groups(1),
        { flops: gradients.length * SUMMING_LANES },
      );
      l.backend.disposeData(sums.dataId);
      return [norm];
    },
  });
}
