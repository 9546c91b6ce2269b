/**
 * Another shape of the same values, which keeps nothing for its way back: tfjs's own keeps what it is
 * given to know its shape, which holds on to values that nobody else needs.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { withLazyGradients } from "./tape/lazy_gradients.ts";

/**
 * The values of `x` in another shape; nothing is copied.
 *
 * @param x any shape
 * @param shape of as many numbers; one dim may be -1
 */
export function reshape<T extends tf.Tensor>(x: tf.Tensor, shape: readonly number[]): T {
  const { shape: before } = x;
  return withLazyGradients<T>({
    inputs: { x },
    save: [],
    forward: () => x.reshape([...shape]),
    gradient: (dy) => ({ x: () => dy.reshape(before) }),
  });
}
