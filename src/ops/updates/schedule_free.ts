/**
 * Schedule-free AdamW (Defazio et al., "The road less scheduled", 2024, arXiv 2405.15682,
 * algorithm 1), as the package schedulefree's AdamWScheduleFree does it.
 *
 * Gradients are taken at y; z makes the steps; x is the average of z, which is what the run is for.
 * y = (1 − β₁) z + β₁ x, so that y and z are enough:
 * v ← β₂ v + (1 − β₂) g²; u = g / (√(v / (1 − β₂ᵗ)) + eps) + decay·y;
 * y ← y + c (z − y) + lr (β₁ (1 − c) − 1) u; z ← z − lr·u; with c the share of the newest z in x.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { updateKernels } from "../fused_kernels.ts";
import { changeValues, hostValues } from "./host_values.ts";
import { isOnHost, type StateArray } from "./state_array.ts";

/** The numbers of one update. */
export interface ScheduleFreeStep {
  /** With warm-up. */
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** t, counted from 1, of the whole group. */
  readonly step: number;
  /** c, the share of the newest z in the average. */
  readonly share: number;
  /** The gradient is multiplied by it first. */
  readonly gradientScale: number;
}

/** The update of one parameter, which holds y. */
export interface ScheduleFreeUpdate {
  readonly parameter: tf.Variable;
  /** Of the parameter's shape. */
  readonly gradient: tf.Tensor;
  readonly z: StateArray;
  readonly secondMoment: StateArray;
  /** Whether z begins here, at y. */
  readonly first: boolean;
  readonly numbers: ScheduleFreeStep;
}

function numbersOf(step: ScheduleFreeStep): Record<string, number> {
  const { learningRate, weightDecay, beta1, beta2, eps, share, gradientScale } = step;
  return {
    beta2,
    fresh2: 1 - beta2,
    correction: 1 / Math.sqrt(1 - beta2 ** step.step),
    eps,
    decay: weightDecay,
    share,
    pull: learningRate * (beta1 * (1 - share) - 1),
    rate: learningRate,
    scale: gradientScale,
  };
}

/** The update on the host; writes into `y`, `z` and `v`. */
export function scheduleFreeValues(
  { y, g, z, v }: Readonly<Record<"y" | "g" | "z" | "v", Float32Array>>,
  step: ScheduleFreeStep,
): void {
  const { beta2, fresh2, correction, eps, decay, share, pull, rate, scale } = numbersOf(step);
  for (let i = 0; i < y.length; i++) {
    const gradient = g[i] * scale;
    const second = v[i] = beta2 * v[i] + fresh2 * gradient * gradient;
    const update = gradient / (Math.sqrt(second) * correction + eps) + decay * y[i];
    y[i] = y[i] + share * (z[i] - y[i]) + pull * update;
    z[i] -= rate * update;
  }
}

/** Updates y, z and second moments in place. */
export function scheduleFree(updates: readonly ScheduleFreeUpdate[]): void {
  for (const { parameter, gradient, z, secondMoment, first, numbers } of updates) {
    if (isOnHost(z)) {
      changeValues(parameter, (y) => {
        if (first) z.set(y);
        const arrays = { z: z as Float32Array, v: secondMoment as Float32Array };
        scheduleFreeValues({ y, g: hostValues(gradient), ...arrays }, numbers);
      });
    } else if (first) tf.tidy(() => z.assign(parameter.mul(1)));
  }
  updateKernels()?.inPlace(
    "schedule_free",
    updates.flatMap(({ parameter, gradient, z, secondMoment, numbers }) =>
      isOnHost(z) || isOnHost(secondMoment)
        ? []
        : [{ parameter, gradient, states: [z, secondMoment], numbers: numbersOf(numbers) }]
    ),
  );
}

/**
 * Sets a parameter to the average: x = y + (1 − 1/β₁)(z − y).
 *
 * @param parameter holds y
 */
export function setAverage(parameter: tf.Variable, z: StateArray, beta1: number): void {
  const share = 1 - 1 / beta1;
  if (!isOnHost(z)) {
    return tf.tidy(() => parameter.assign(parameter.add(tf.sub(z, parameter).mul(share))));
  }
  changeValues(parameter, (y) => {
    for (let i = 0; i < y.length; i++) y[i] += share * (z[i] - y[i]);
  });
}
