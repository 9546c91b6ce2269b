/**
 * Loss and gradients of one micro-batch, and their sum over the micro-batches of a step.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import {
  type ValueAndGradients,
  valueAndGradients,
  valueAndGradientsAsReady,
} from "../../ops/tape/backward.ts";

/** Trainable tensors by name. */
export type Parameters = ReadonlyMap<string, tf.Variable>;

/** A loss with its gradients by parameter; all on the device and the caller's to free. */
export interface LossGradients {
  readonly loss: tf.Scalar;
  /** Of each parameter that the loss depends on, or that has a sum. */
  readonly gradients: Map<string, tf.Tensor>;
}

/** Calls a differentiating function for parameters by name. */
function prepared(
  parameters: Parameters,
  lossScale: number,
  sums: ReadonlyMap<string, tf.Tensor>,
) {
  const names = [...parameters.keys()], variables = [...parameters.values()];
  for (const variable of variables) variable.trainable = true;
  const start = lossScale === 1 ? undefined : tf.scalar(lossScale);
  const before = names.map((name) => sums.get(name));
  const byName = ({ value, gradients: found }: ValueAndGradients<tf.Scalar>): LossGradients => {
    const gradients = new Map<string, tf.Tensor>();
    names.forEach((name, i) => {
      const gradient = found[i];
      if (gradient) gradients.set(name, gradient);
    });
    return { loss: value, gradients };
  };
  return { names, variables, start, before, byName };
}

/**
 * Runs the forward and the backward pass of `loss`.
 *
 * @param loss makes the scalar; run once, inside tfjs's tape
 * @param parameters the tensors that get gradients
 * @param lossScale multiplied into the gradients from the start, if it is not 1 (fp16)
 * @param sums gradients that these are added to; taken over, and not valid any more if this throws
 */
export function lossGradients(
  loss: () => tf.Scalar,
  parameters: Parameters,
  lossScale = 1,
  sums: ReadonlyMap<string, tf.Tensor> = new Map(),
): LossGradients {
  const { variables, start, before, byName } = prepared(parameters, lossScale, sums);
  try {
    return byName(valueAndGradients(loss, variables, start, before));
  } finally {
    start?.dispose();
  }
}

/** Gets gradients while the backward pass goes on. */
export interface GradientReceiver {
  /**
   * A gradient of the step is complete.
   *
   * @param gradient not to be changed or freed
   * @returns what the backward pass waits for, if anything
   */
  receive(name: string, gradient: tf.Tensor): Promise<void> | void;
  /** Forgets a step that is not finished. */
  forget(): void;
}

/** Sums gradients over the micro-batches of a step; owns the sum. */
export class GradientAccumulator {
  #sum = new Map<string, tf.Tensor>();
  /** Micro-batches of the step that are still to come, if that is known. */
  #left = 0;
  /** Whether the gradients of this step are with the receiver. */
  #isSent = false;
  /** Gets the gradients of a step's last micro-batch, each with the sum of those before. */
  receiver: GradientReceiver | null = null;

  /** The sum so far, by parameter. */
  get gradients(): ReadonlyMap<string, tf.Tensor> {
    return this.#sum;
  }

  /** Says how many times {@linkcode addLoss} will be called in this step. */
  expect(count: number): void {
    this.#left = count;
  }

  /**
   * Runs the forward and the backward pass of `loss` and adds the gradients as they are computed, so
   * that there is one gradient for each parameter however many micro-batches there are.
   *
   * @param loss makes the scalar; run once, inside tfjs's tape
   * @param parameters the tensors that get gradients
   * @param lossScale multiplied into the gradients (fp16)
   * @returns the loss, on the device and the caller's to free
   */
  async addLoss(
    loss: () => tf.Scalar,
    parameters: Parameters,
    lossScale = 1,
  ): Promise<tf.Scalar> {
    if (this.#isSent) {
      throw new Error("Cannot add gradients: those of the step are on their way to other ranks");
    }
    const { receiver } = this;
    const isLast = this.#left === 1;
    if (this.#left > 0) this.#left--;
    const result = isLast && receiver !== null
      ? await this.#sent(receiver, loss, parameters, lossScale)
      : lossGradients(loss, parameters, lossScale, this.#sum);
    for (const [name, gradient] of result.gradients) this.#sum.set(name, gradient);
    return result.loss;
  }

  async #sent(
    receiver: GradientReceiver,
    loss: () => tf.Scalar,
    parameters: Parameters,
    lossScale: number,
  ): Promise<LossGradients> {
    const { names, variables, start, before, byName } = prepared(parameters, lossScale, this.#sum);
    this.#isSent = true;
    try {
      return byName(
        await valueAndGradientsAsReady(
          loss,
          variables,
          start,
          before,
          (input, gradient) => receiver.receive(names[input], gradient),
        ),
      );
    } finally {
      start?.dispose();
    }
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
    this.#left = 0;
    this.#isSent = false;
    this.receiver?.forget();
  }
}
