/**
 * Adafactor (Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost",
 * 2018, arXiv 1804.04235, algorithms 4 and 5), as Transformers' Adafactor does it without relative
 * steps and first moment: of a matrix it keeps means of squared gradients by row and by column,
 * whose product stands for the mean of each value.
 *
 * β = 1 − t^decayRate; R ← β R + (1 − β) mean(g² + 1e-30, columns), C the same over rows;
 * u = g / √(R C / mean(R)); u ← u / max(1, rms(u) / clipThreshold); w ← w (1 − lr·decay) − lr·u.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { changeValues, hostValues } from "./host_values.ts";
import { isOnHost, type StateArray } from "./state_array.ts";

// L leading dims together, R rows, C columns

/** Transformers' `eps`: added to squared gradients, and the least scale of a parameter. */
const EPS = [1e-30, 1e-3] as const;

/** The numbers of one update. */
export interface AdafactorStep {
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Below 0. */
  readonly decayRate: number;
  /** An update's root mean square is scaled down to it. */
  readonly clipThreshold: number;
  /** Multiply the rate by the root mean square of the parameter. */
  readonly scaleParameter: boolean;
  /** t, counted from 1. */
  readonly step: number;
  /** The gradient is multiplied by it first. */
  readonly gradientScale: number;
}

/** The means of squares of one parameter: of a matrix by row and column, else of each value. */
export interface AdafactorState {
  /** [..., R] */
  readonly rows?: StateArray;
  /** [..., C] */
  readonly columns?: StateArray;
  /** The parameter's shape, of which it has fewer than two dims. */
  readonly squares?: StateArray;
}

/** The update of one parameter. */
export interface AdafactorUpdate {
  readonly parameter: tf.Variable;
  /** Of the parameter's shape. */
  readonly gradient: tf.Tensor;
  readonly state: AdafactorState;
  readonly numbers: AdafactorStep;
}

/** Updates parameters and means in place. */
export function adafactor(updates: readonly AdafactorUpdate[]): void {
  for (const update of updates) {
    const { parameter, gradient, state, numbers } = update;
    const onHost = isOnHost(state.rows ?? state.squares!);
    if (!onHost) adafactorComposite(update);
    else {
      changeValues(
        parameter,
        (w) => adafactorValues(w, hostValues(gradient), { state, shape: parameter.shape, numbers }),
      );
    }
  }
}

function rootMeanSquare(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return Math.sqrt(sum / values.length);
}

/** The update on the host; writes into `w` and the state. */
export function adafactorValues(
  w: Float32Array,
  g: Float32Array,
  { state, shape, numbers }: {
    readonly state: AdafactorState;
    readonly shape: readonly number[];
    readonly numbers: AdafactorStep;
  },
): void {
  const { learningRate, weightDecay, decayRate, clipThreshold, step, gradientScale } = numbers;
  const beta = 1 - step ** decayRate;
  const rate = learningRate *
    (numbers.scaleParameter ? Math.max(EPS[1], rootMeanSquare(w)) : 1);
  // A vector is a matrix of one row whose columns have their own means.
  const C = shape.length < 2 ? w.length : shape.at(-1)!;
  const R = shape.length < 2 ? 1 : shape.at(-2)!;
  const factors = factorsOf(g, { state, R, C, beta, gradientScale });
  let sum = 0;
  for (let row = 0, i = 0; i < w.length; row++) {
    const first = Math.floor(row / R) * C;
    const factor = gradientScale * factors.rows[row];
    for (let c = 0; c < C; c++, i++) sum += (factor * g[i] * factors.columns[first + c]) ** 2;
  }
  const clip = Math.max(1, Math.sqrt(sum / w.length) / clipThreshold);
  const keep = 1 - weightDecay * rate, scale = rate / clip * gradientScale;
  for (let row = 0, i = 0; i < w.length; row++) {
    const first = Math.floor(row / R) * C;
    const factor = scale * factors.rows[row];
    for (let c = 0; c < C; c++, i++) {
      w[i] = w[i] * keep - factor * g[i] * factors.columns[first + c];
    }
  }
}

/** Updates the means; what a gradient is multiplied by, as factors of its row and its column. */
function factorsOf(
  g: Float32Array,
  { state, R, C, beta, gradientScale }: {
    readonly state: AdafactorState;
    readonly R: number;
    readonly C: number;
    readonly beta: number;
    readonly gradientScale: number;
  },
): { rows: ArrayLike<number>; columns: ArrayLike<number> } {
  const squared = gradientScale * gradientScale;
  if (state.squares !== undefined) {
    const squares = state.squares as Float32Array;
    for (let i = 0; i < g.length; i++) {
      squares[i] = beta * squares[i] + (1 - beta) * (squared * g[i] * g[i] + EPS[0]);
    }
    return { rows: [1], columns: Float64Array.from(squares, (value) => 1 / Math.sqrt(value)) };
  }
  const rows = state.rows as Float32Array, columns = state.columns as Float32Array;
  const L = rows.length / R;
  const columnSums = new Float64Array(columns.length);
  for (let row = 0, i = 0; row < rows.length; row++) {
    const first = Math.floor(row / R) * C;
    let sum = 0;
    for (let c = 0; c < C; c++, i++) {
      const square = squared * g[i] * g[i] + EPS[0];
      sum += square;
      columnSums[first + c] += square;
    }
    rows[row] = beta * rows[row] + (1 - beta) * sum / C;
  }
  for (let i = 0; i < columns.length; i++) {
    columns[i] = beta * columns[i] + (1 - beta) * columnSums[i] / R;
  }
  const rowFactors = new Float64Array(rows.length);
  for (let l = 0; l < L; l++) {
    let mean = 0;
    for (let r = 0; r < R; r++) mean += rows[l * R + r] / R;
    for (let r = 0; r < R; r++) rowFactors[l * R + r] = 1 / Math.sqrt(rows[l * R + r] / mean);
  }
  return { rows: rowFactors, columns: Float64Array.from(columns, (value) => 1 / Math.sqrt(value)) };
}

/** The update as tfjs ops, with the state on the device. */
export function adafactorComposite(
  { parameter, gradient, state, numbers }: AdafactorUpdate,
): void {
  const { learningRate, weightDecay, decayRate, clipThreshold, step, gradientScale } = numbers;
  const beta = 1 - step ** decayRate;
  const rms = (x: tf.Tensor): tf.Tensor => x.square().mean().sqrt();
  tf.tidy(() => {
    const g = gradientScale === 1 ? gradient : gradient.mul(gradientScale);
    const squares = g.square().add(EPS[0]);
    const moved = (mean: StateArray, value: tf.Tensor): tf.Tensor => {
      const variable = mean as tf.Variable;
      variable.assign(variable.mul(beta).add(value.mul(1 - beta)));
      return variable;
    };
    let update: tf.Tensor;
    if (state.squares !== undefined) update = g.mul(moved(state.squares, squares).rsqrt());
    else {
      const rows = moved(state.rows!, squares.mean(-1)); // [..., R]
      const columns = moved(state.columns!, squares.mean(-2)); // [..., C]
      const rowFactors = rows.div(rows.mean(-1, true)).rsqrt().expandDims(-1); // [..., R, 1]
      update = g.mul(rowFactors).mul(columns.rsqrt().expandDims(-2));
    }
    update = update.div(rms(update).div(clipThreshold).maximum(1));
    const rate = numbers.scaleParameter
      ? rms(parameter).maximum(EPS[1]).mul(learningRate)
      : tf.scalar(learningRate);
    const kept = parameter.sub(parameter.mul(rate.mul(weightDecay)));
    parameter.assign(kept.sub(update.mul(rate)));
  });
}
