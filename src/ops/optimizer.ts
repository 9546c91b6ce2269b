/**
 * AdamW with decoupled weight decay (Loshchilov and Hutter, 2019), as torch.optim.AdamW does it:
 * w ← w (1 − lr·decay); m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²;
 * w ← w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps);
 * and the global L2 norm of all gradients (torch.nn.utils.clip_grad_norm_).
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import type { AdamWStep, AdamWTensors } from "./kernels.ts";

export type { AdamWStep };

/** A running mean, shaped as the parameter, as `createState()` makes it. */
export type Moment = tf.Variable | Float32Array;

/** A parameter with its moments; `adamw` changes all three. */
export interface AdamWSlot {
  parameter: tf.Variable;
  firstMoment: Moment;
  secondMoment: Moment;
}

/** The update of one parameter. */
export interface AdamWUpdate extends AdamWSlot {
  /** Of the parameter's shape. */
  gradient: tf.Tensor;
  numbers: AdamWStep;
}

function hasTensors(update: AdamWUpdate): update is AdamWUpdate & AdamWTensors {
  const { firstMoment, secondMoment } = update;
  return !(firstMoment instanceof Float32Array) && !(secondMoment instanceof Float32Array);
}

/** Runs an update whose moments lie outside the wasm heap; false, with nothing done, if it cannot. */
function updateOnHost(update: AdamWUpdate): boolean {
  const { parameter, gradient, firstMoment, secondMoment, numbers } = update;
  return firstMoment instanceof Float32Array && secondMoment instanceof Float32Array &&
    fusedKernels()?.adamWHost?.(parameter, gradient, firstMoment, secondMoment, numbers) === true;
}

/**
 * Updates parameters in place, in as few launches as the backend can.
 *
 * @param updates of different parameters
 */
export function adamw(updates: readonly AdamWUpdate[]): void {
  const onDevice = updates.filter(hasTensors);
  const onHost = updates.filter((update) => !hasTensors(update));
  // Values that another tensor shares cannot be changed in place: the composite makes new ones.
  const left = [
    ...fusedKernels()?.adamW(onDevice) ?? onDevice,
    ...onHost.filter((update) => !updateOnHost(update)),
  ];
  for (const update of left) adamwComposite(update);
}

/** The plain composite of one update of {@linkcode adamw}. */
export function adamwComposite({ gradient, numbers, ...slot }: AdamWUpdate): void {
  const { learningRate, weightDecay, beta1, beta2, eps, step, gradientScale } = numbers;
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

/**
 * √Σ g², over all tensors, left on the device.
 *
 * @param gradients any shapes, at least one
 * @returns scalar
 */
export function gradientNorm(gradients: tf.Tensor[]): tf.Scalar {
  return fusedKernels()?.gradientNorm(gradients) ?? gradientNormComposite(gradients);
}

/** The plain composite of {@linkcode gradientNorm}. */
export function gradientNormComposite(gradients: tf.Tensor[]): tf.Scalar {
  return tf.tidy(() => {
    const sums = gradients.map((gradient) => gradient.square().sum());
    return tf.stack(sums).sum().sqrt() as tf.Scalar;
  });
}
