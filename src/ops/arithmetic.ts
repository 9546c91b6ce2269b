/**
 * Sums, multiples and reshapes that keep nothing for their backward pass. tfjs's own ops keep their
 * inputs until then, although the gradients do not read them.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "./fused_kernels.ts";
import { withGradient } from "./tape/with_gradient.ts";
import { withLazyGradients } from "./tape/lazy_gradients.ts";

/**
 * The sum of two tensors.
 *
 * @param a any shape
 * @param b the same shape
 * @returns that shape; its gradient is that of both
 */
export function add<T extends tf.Tensor>(a: T, b: tf.Tensor): T {
  return withGradient<T>([a, b], () => ({
    value: fusedKernels()?.add?.(a, b) ?? a.add(b),
    gradient: (dy) => [dy.clone(), dy.clone()],
  }));
}

/**
 * x · factor; x itself if the factor is 1.
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
