/**
 * A tensor times a number. tfjs's own keeps the tensor until the way back, for the gradient of the
 * number.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { withGradient } from "./tape/with_gradient.ts";

/**
 * x · factor; x itself where the factor is 1.
 *
 * @param x any shape
 */
export function scale<T extends tf.Tensor>(x: T, factor: number): T {
  if (factor === 1) return x;
  return withGradient<T>([x], () => ({
    value: tf.mul(x, factor),
    gradient: (dy) => [dy.mul(factor)],
  }));
}
