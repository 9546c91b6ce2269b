/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, 2019), as torch.optim.AdamW does it:
 * w ← w (1 − lr·decay); m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²;
 * w ← w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import { wasmKernels } from "./wasm/kernels.ts";

/** The numbers of one update. */
export interface AdamWStep {
  learningRate: number;
  weightDecay: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** t, from 1. */
  step: number;
  /** Multiplied into the gradient first: the clipping factor. */
  gradientScale: number;
}

/**
 * A running mean of the parameter's shape. On the wasm backend it lives outside the heap, whose 4 GiB
 * would not hold the weights, gradients and both moments of a 230M model.
 */
export type Moment = tf.Variable | Float32Array;

/** A parameter with its moments; `adamw` changes all three. */
export interface AdamWSlot {
  parameter: tf.Variable;
  firstMoment: Moment;
  secondMoment: Moment;
}

/** A moment of zeros for a parameter, where the current backend wants it. */
export function createMoment(parameter: tf.Variable): Moment {
  if (wasmKernels() !== null) return new Float32Array(parameter.size);
  return tf.tidy(() => tf.variable(tf.zeros(parameter.shape), false));
}

/** Sets a moment to `values`, as many as it has. */
export function setMoment(moment: Moment, values: Float32Array): void {
  if (moment instanceof Float32Array) moment.set(values);
  else tf.tidy(() => moment.assign(tf.tensor(values, moment.shape)));
}

/** Frees a moment. */
export function disposeMoment(moment: Moment): void {
  if (!(moment instanceof Float32Array)) moment.dispose();
}

/**
 * One update of one parameter, in place.
 *
 * @param slot the parameter and its moments
 * @param gradient of the parameter's shape
 * @param options the numbers of this step
 */
export function adamw(slot: AdamWSlot, gradient: tf.Tensor, options: AdamWStep): void {
  const { parameter, firstMoment, secondMoment } = slot;
  const onHost = firstMoment instanceof Float32Array && secondMoment instanceof Float32Array;
  const done = onHost
    ? wasmKernels()?.adamWHost(parameter, gradient, firstMoment, secondMoment, options)
    : "assign" in firstMoment && "assign" in secondMoment &&
      fusedKernels()?.adamW(parameter, gradient, firstMoment, secondMoment, options);
  // Values that another tensor shares cannot be changed in place: the composite makes new ones.
  if (done !== true) adamwComposite(slot, gradient, options);
}

/** The plain composite of {@linkcode adamw}. */
export function adamwComposite(slot: AdamWSlot, gradient: tf.Tensor, options: AdamWStep): void {
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = options;
  const read = (moment: Moment): tf.Tensor =>
    moment instanceof Float32Array ? tf.tensor(moment, slot.parameter.shape) : moment;
  const write = (moment: Moment, value: tf.Tensor): void => {
    if (moment instanceof Float32Array) moment.set(value.dataSync());
    else moment.assign(value);
  };
  tf.tidy(() => {
    const scaled = gradientScale === 1 ? gradient : gradient.mul(gradientScale);
    const first = read(slot.firstMoment).mul(beta1).add(scaled.mul(1 - beta1));
    const second = read(slot.secondMoment).mul(beta2).add(scaled.square().mul(1 - beta2));
    const denominator = second.div(1 - Math.pow(beta2, step)).sqrt().add(eps);
    const update = first.div(denominator).mul(learningRate / (1 - Math.pow(beta1, step)));
    slot.parameter.assign(
      slot.parameter.mul(1 - learningRate * weightDecay).sub(update) as tf.Tensor,
    );
    write(slot.firstMoment, first);
    write(slot.secondMoment, second);
  });
}
