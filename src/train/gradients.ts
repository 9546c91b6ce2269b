/**
 * Loss and gradients of one micro-batch, and their sum over the micro-batches of a step.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { valueAndGradients } from "../ops/backward.ts";

/** Trainable tensors by name. */
export type Parameters = ReadonlyMap<string, tf.Variable>;

/**
 * Runs `loss` and goes back through it.
 *
 * @param loss makes the scalar; run once, inside tfjs's tape
 * @param parameters the tensors that get gradients
 * @param lossScale multiplied into the gradients from the start, where it is not 1 (fp16)
 * @returns the loss and a gradient for each parameter that the loss depends on, all on the device
 *   and the caller's to free
 */
export function lossGradients(
  loss: () => tf.Scalar,
  parameters: Parameters,
  lossScale = 1,
): { loss: tf.Scalar; gradients: Map<string, tf.Tensor> } {
  const variables = [...parameters.values()];
  for (const variable of variables) variable.trainable = true;
  const start = lossScale === 1 ? undefined : tf.scalar(lossScale);
  const { value, gradients: found } = valueAndGradients(loss, variables, start);
  start?.dispose();
  const gradients = new Map<string, tf.Tensor>();
  [...parameters.keys()].forEach((name, i) => {
    const gradient = found[i];
    if (gradient) gradients.set(name, gradient);
  });
  return { loss: value, gradients };
}

/** Sums gradients over micro-batches; owns the sum. */
export class GradientAccumulator {
  #sum = new Map<string, tf.Tensor>();

  /** The sum so far, by parameter. */
  get gradients(): ReadonlyMap<string, tf.Tensor> {
    return this.#sum;
  }

  /** Adds gradients and takes them over. */
  add(gradients: ReadonlyMap<string, tf.Tensor>): void {
    for (const [name, gradient] of gradients) {
      const before = this.#sum.get(name);
      if (!before) {
        this.#sum.set(name, gradient);
        continue;
      }
      this.#sum.set(name, before.add(gradient));
      before.dispose();
      gradient.dispose();
    }
  }

  /** Frees the sum and starts again. */
  reset(): void {
    for (const gradient of this.#sum.values()) gradient.dispose();
    this.#sum = new Map();
  }
}
