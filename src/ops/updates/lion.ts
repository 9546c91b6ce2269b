/**
 * Lion (Chen et al., "Symbolic discovery of optimization algorithms", 2023, arXiv 2302.06675,
 * algorithm 2), as bitsandbytes' Lion does it:
 * w ← w (1 − lr·decay) − lr · sign(β₁ m + (1 − β₁) g); m ← β₂ m + (1 − β₂) g.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { updateKernels } from "../fused_kernels.ts";
import { changeValues, hostValues } from "./host_values.ts";
import { isOnHost, type StateArray } from "./state_array.ts";

/** The numbers of one update. */
export interface LionStep {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  /** The gradient is multiplied by it first. */
  readonly gradientScale: number;
}

/** The update of one parameter. */
export interface LionUpdate {
  readonly parameter: tf.Variable;
  /** Of the parameter's shape. */
  readonly gradient: tf.Tensor;
  /** Of the parameter's shape. */
  readonly momentum: StateArray;
  readonly numbers: LionStep;
}

/** The numbers of the kernel and of the loop below. */
export function lionNumbers(step: LionStep): Record<string, number> {
  const { learningRate, weightDecay, beta1, beta2, gradientScale } = step;
  return {
    keep: 1 - learningRate * weightDecay,
    rate: learningRate,
    beta1,
    fresh1: 1 - beta1,
    beta2,
    fresh2: 1 - beta2,
    scale: gradientScale,
  };
}

/** The sign: by division, since the branches of Math.sign are wrong guesses half of the time. */
export function signOf(x: number): number {
  return x === 0 ? 0 : x / Math.abs(x);
}

/** The update on the host; writes into `w` and `m`. */
export function lionValues(
  w: Float32Array,
  g: Float32Array,
  m: Float32Array,
  step: LionStep,
): void {
  const { keep, rate, beta1, fresh1, beta2, fresh2, scale } = lionNumbers(step);
  for (let i = 0; i < w.length; i++) {
    const gradient = g[i] * scale;
    w[i] = w[i] * keep - rate * signOf(beta1 * m[i] + fresh1 * gradient);
    m[i] = beta2 * m[i] + fresh2 * gradient;
  }
}

/** Updates parameters and momenta in place. */
export function lion(updates: readonly LionUpdate[]): void {
  for (const { parameter, gradient, momentum, numbers } of updates) {
    if (!isOnHost(momentum)) continue;
    changeValues(
      parameter,
      (w) => lionValues(w, hostValues(gradient), momentum as Float32Array, numbers),
    );
  }
  updateKernels()?.inPlace(
    "lion",
    updates.flatMap(({ parameter, gradient, momentum, numbers }) =>
      isOnHost(momentum)
        ? []
        : [{ parameter, gradient, states: [momentum], numbers: lionNumbers(numbers) }]
    ),
  );
}
