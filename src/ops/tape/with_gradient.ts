/**
 * One way to give an op its own backward pass on top of tfjs's tape.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** Keeps tensors for the backward pass. They must live until the end of the forward function. */
export type Save = (tensors: tf.Tensor[]) => void;

/** What {@linkcode withGradient}'s forward function returns. */
export interface ForwardResult {
  /** The op's output. */
  value: tf.Tensor;
  /**
   * Gradients of the inputs, in their order, from the gradient of the output and the tensors
   * that were saved. Written, never added: tfjs sums over the uses of a tensor.
   */
  gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[];
}

/**
 * Runs `forward` as one op of tfjs's tape, with the gradient that it returns. Tensors that
 * `forward` makes and neither returns nor saves are freed at once; ops inside are not recorded.
 *
 * @param inputs the tensors that get gradients
 * @param forward computes the output and returns it with its gradient function
 */
export function withGradient<T extends tf.Tensor>(
  inputs: tf.Tensor[],
  forward: (save: Save) => ForwardResult,
): T {
  const op = tf.customGrad((...parameters: (tf.Tensor | tf.GradSaveFunc)[]) => {
    const save = parameters[parameters.length - 1] as tf.GradSaveFunc;
    const saved: tf.Tensor[] = [];
    const { value, gradient } = forward((tensors) => void saved.push(...tensors));
    if (saved.length > 0) save(saved); // Not before: tfjs never frees what a failed op saved.
    return {
      value,
      gradFunc: (dy: tf.Tensor | tf.Tensor[], saved: tf.Tensor[]) =>
        gradient(Array.isArray(dy) ? dy[0] : dy, saved),
    };
  });
  return op(...inputs) as T;
}
