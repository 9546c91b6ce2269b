/**
 * tanh-GELU and SwiGLU of a 16-bit pass (`precision.ts`). Their inputs are rounded already, so
 * that they are kept in 16 bits for the backward pass without loss. If there is no kernel for the
 * gradient, the backward pass computes the value again.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { valueAndGradients } from "../tape/backward.ts";
import { fusedKernels } from "../fused_kernels.ts";
import { withLazyGradients } from "../tape/lazy_gradients.ts";
import { keepHalf, keptNumbers } from "./pack_half.ts";
import { type HalfFormat, withPrecision } from "./precision.ts";
import { isRecording } from "../tape/recording.ts";
import { roundHalf } from "./round_half.ts";

/** What is kept of rounded values for the backward pass, if there will be one. */
function kept(values: readonly tf.Tensor[], format: HalfFormat): tf.Tensor[] {
  if (!isRecording()) return [];
  return values.map((value) => keepHalf(value, format));
}

/**
 * tanh-GELU of rounded values. A backend that rounds as it stores rounds the result and the gradient;
 * others leave that to the products that read them, which gives the same values.
 *
 * @param format of the values
 * @param x any shape
 * @param gelu the op; it is called in float32
 * @param activated its value, if a product has computed it already; stays the caller's
 * @returns the same shape
 */
export function halfGelu(
  format: HalfFormat,
  x: tf.Tensor,
  gelu: (x: tf.Tensor) => tf.Tensor,
  activated?: tf.Tensor,
): tf.Tensor {
  const { shape } = x;
  const run = (x: tf.Tensor) =>
    fusedKernels()?.rounding?.gelu(x, format) ?? withPrecision("float32", () => gelu(x));
  return withLazyGradients({
    inputs: { x },
    save: kept([x], format),
    forward: () => activated?.clone() ?? run(x),
    gradient: (dy, [words]) => ({
      x: () => {
        const kernels = fusedKernels();
        if (kernels !== null) return kernels.geluHalfGradient(words, dy, format);
        const x = keptNumbers(words, format, shape);
        return valueAndGradients(() => run(x), [x], dy).gradients[0]!;
      },
    }),
  });
}

/** R(silu(gate)) of rounded gate. */
function halfSilu(format: HalfFormat, gate: tf.Tensor): tf.Tensor {
  return tf.tidy(() => roundHalf(gate.mul(gate.sigmoid()), format));
}

/** R(x · y). */
function halfProduct(format: HalfFormat, x: tf.Tensor, y: tf.Tensor): tf.Tensor {
  return tf.tidy(() => roundHalf(x.mul(y), format));
}

/** The plain composite of {@linkcode halfSwiglu}, which frees each value after its last use. */
function halfSwigluComposite(
  format: HalfFormat,
  gate: tf.Tensor,
  up: tf.Tensor,
): tf.Tensor {
  return tf.tidy(() => halfProduct(format, halfSilu(format, gate), up));
}

/** The gradient by gate from d, that of R(silu(gate)), rounded: d · σ + d · gate · σ (1 − σ). */
function halfSiluGradient(format: HalfFormat, gate: tf.Tensor, d: tf.Tensor): tf.Tensor {
  return tf.tidy(() => {
    const sigma = gate.sigmoid();
    const slope = tf.tidy(() => d.mul(gate).mul(sigma.mul(tf.scalar(1).sub(sigma))));
    const sum = tf.tidy(() => d.mul(sigma).add(slope));
    tf.dispose([sigma, slope]);
    return roundHalf(sum, format);
  });
}

/**
 * R(R(silu(gate)) · up) of rounded gate and up, with gradients rounded at the same
 * places. Written.
 *
 * @param format to round to
 * @param gate any shape
 * @param up the same shape
 * @returns the same shape
 */
export function halfSwiglu(format: HalfFormat, gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  const { shape } = gate;
  return withLazyGradients({
    inputs: { gate, up },
    save: kept([gate, up], format),
    forward: () =>
      fusedKernels()?.swigluHalf(gate, up, format) ?? halfSwigluComposite(format, gate, up),
    gradient: (dy, words) => {
      const kernels = fusedKernels();
      if (kernels !== null) return kernels.swigluHalfGradients(words[0], words[1], dy, format);
      const factor = (i: number) => keptNumbers(words[i], format, shape);
      const R = (x: tf.Tensor) => roundHalf(x, format);
      return {
        gate: () => {
          const d = tf.tidy(() => halfProduct(format, R(dy), factor(1)));
          return halfSiluGradient(format, factor(0), d);
        },
        up: () => {
          const h = tf.tidy(() => halfSilu(format, factor(0)));
          return halfProduct(format, R(dy), h);
        },
      };
    },
  });
}
