/**
 * Loss and gradients of one micro-batch, and their sum over the micro-batches of a step.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type ValueAndGradients, valueAndGradients } from "../../ops/tape/backward.ts";

/** Trainable tensors by name. */
export type Parameters = ReadonlyMap<string, tf.Variable>;

/**
 * Runs the forward and the backward pass of `loss`.
 *
 * @param loss makes the scalar; run once, inside tfjs's tape
 * @param parameters the tensors that get gradients
 * @param lossScale multiplied into the gradients from the start, if it is not 1 (fp16)
 * @param sums gradients that these are added to; taken over, and not valid any more if this throws
 * @returns the loss and a gradient for each parameter that the loss depends on or that has a sum,
 *   all on the device and the caller's to free
 */
export function lossGradients(
  loss: () => tf.Scalar,
  parameters: Parameters,
  lossScale = 1,
  sums: ReadonlyMap<string, tf.Tensor> = new Map(),
): { loss: tf.Scalar; gradients: Map<string, tf.Tensor> } {
  const variables = [...parameters.values()];
  for (const variable of variables) variable.trainable = true;
  const start = lossScale === 1 ? undefined : tf.scalar(lossScale);
  const before = [...parameters.keys()].map((name) => sums.get(name));
  let result: ValueAndGradients<tf.Scalar>;
  try {
    result = valueAndGradients(loss, variables, start, before);
  } finally {
    start?.dispose();
  }
  const { value, gradients: found } = result;
  const gradients = new Map<string, tf.Tensor>();
  [...parameters.keys()].forEach((name, i) => {
    const gradient = found[i];
    if (gradient) gradients.set(name, gradient);
  });
  return { loss: value, gradients };
}

/** Sums gradients over the micro-batches of a step; owns the sum. */
export class GradientAccumulator {
  #sum = new Map<string, tf.Tensor>();

  /** The sum so far, by parameter. */
  get gradients(): ReadonlyMap<string, tf.Tensor> {
    return this.#sum;
  }

  /**
   * Runs the forward and the backward pass of `loss` and adds the gradients as they are computed, so that there is
   * one gradient for each parameter however many micro-batches there are.
   *
   * @param loss makes the scalar; run once, inside tfjs's tape
   * @param parameters the tensors that get gradients
   * @param lossScale multiplied into the gradients (fp16)
   * @returns the loss, on the device and the caller's to free
   */
  addLoss(loss: () => tf.Scalar, parameters: Parameters, lossScale = 1): tf.Scalar {
    const result = lossGradients(loss, parameters, lossScale, this.#sum);
    for (const [name, gradient] of result.gradients) this.#sum.set(name, gradient);
    return result.loss;
  }

  /**
   * Replaces the sum of one parameter; the old one is freed.
   *
   * @param gradient taken over
   */
  set(name: string, gradient: tf.Tensor): void {
    this.#sum.get(name)?.dispose();
    this.#sum.set(name, gradient);
  }

  /** Frees the sum and starts again. */
  reset(): void {
    for (const gradient of this.#sum.values()) gradient.dispose();
    this.#sum = new Map();
  }
}
