/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, 2019), as torch.optim.AdamW does it:
 * w ← w (1 − lr·decay); m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²;
 * w ← w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
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

/** A parameter with its moments; `adamw` assigns all three. */
export interface AdamWSlot {
  parameter: tf.Variable;
  firstMoment: tf.Variable;
  secondMoment: tf.Variable;
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
  const done = wasmKernels()?.adamW(parameter, gradient, firstMoment, secondMoment, options);
  // Values that another tensor shares cannot be changed in place: the composite makes new ones.
  if (done !== true) adamwComposite(slot, gradient, options);
}

/** The plain composite of {@linkcode adamw}. */
export function adamwComposite(slot: AdamWSlot, gradient: tf.Tensor, options: AdamWStep): void {
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = options;
  tf.tidy(() => {
    const scaled = gradientScale === 1 ? gradient : gradient.mul(gradientScale);
    const first = slot.firstMoment.mul(beta1).add(scaled.mul(1 - beta1));
    const second = slot.secondMoment.mul(beta2).add(scaled.square().mul(1 - beta2));
    const denominator = second.div(1 - Math.pow(beta2, step)).sqrt().add(eps);
    const update = first.div(denominator).mul(learningRate / (1 - Math.pow(beta1, step)));
    slot.parameter.assign(
      slot.parameter.mul(1 - learningRate * weightDecay).sub(update) as tf.Tensor,
    );
    slot.firstMoment.assign(first);
    slot.secondMoment.assign(second);
  });
}
