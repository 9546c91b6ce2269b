/**
 * tanh-GELU and SwiGLU of a 16-bit pass (`precision.ts`). What they read is rounded already, so that
 * it is kept in 16 bits for the way back and nothing is lost; there the value is computed again
 * where no kernel knows its gradient.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { valueAndGradients } from "./backward.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { sharedGradients } from "./fused_op.ts";
import { withLazyGradients } from "./lazy_gradients.ts";
import { packHalf, unpackHalf } from "./pack_half.ts";
import { type HalfFormat, withPrecision } from "./precision.ts";
import { isRecording } from "./recording.ts";
import { castHalf, roundHalf } from "./round_half.ts";
import { wasmKernels } from "./wasm/kernels.ts";

/** What is kept of rounded values: nothing where nobody goes back. */
function kept(values: readonly tf.Tensor[], format: HalfFormat): tf.Tensor[] {
  if (!isRecording()) return [];
  return values.map((value) => packHalf(value, format));
}

/**
 * tanh-GELU of rounded values; neither the result nor the gradient is rounded.
 *
 * @param format of the values
 * @param x any shape
 * @param gelu the op; it is called in float32
 * @returns the same shape
 */
export function halfGelu(
  format: HalfFormat,
  x: tf.Tensor,
  gelu: (x: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  const { shape } = x;
  const run = (x: tf.Tensor) => withPrecision("float32", () => gelu(x));
  return withLazyGradients({
    inputs: { x },
    save: kept([x], format),
    forward: () => run(x),
    gradient: (dy, [words]) => ({
      x: () => {
        const x = unpackHalf(words, format, shape);
        return fusedKernels()?.geluGradient(x, dy) ??
          valueAndGradients(() => run(x), [x], dy).gradients[0]!;
      },
    }),
  });
}

/** The plain composite of {@linkcode halfSwiglu}. */
export function halfSwigluComposite(
  format: HalfFormat,
  gate: tf.Tensor,
  up: tf.Tensor,
): tf.Tensor {
  const [g, u] = [gate, up].map((factor) => castHalf(factor, format)); // no change but to gradients
  return castHalf(castHalf(g.mul(g.sigmoid()), format).mul(u), format);
}

/**
 * R(R(silu(gate)) · up) of rounded gate and up, with gradients rounded where those values are.
 * Written.
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
      wasmKernels()?.swigluHalf(gate, up, format) ?? halfSwigluComposite(format, gate, up),
    gradient: (dy, words) => {
      const factor = (i: number) => unpackHalf(words[i], format, shape);
      const kernels = wasmKernels();
      if (kernels !== null) {
        return {
          gate: () => kernels.swigluHalfGate(factor(0), factor(1), roundHalf(dy, format), format),
          up: () => kernels.swigluHalf(factor(0), roundHalf(dy, format), format),
        };
      }
      const both = sharedGradients(() => {
        const factors = [factor(0), factor(1)];
        const { gradients } = valueAndGradients(
          () => withPrecision("float32", () => halfSwigluComposite(format, factors[0], factors[1])),
          factors,
          dy,
        );
        return gradients as tf.Tensor[];
      });
      return { gate: both(0), up: both(1) };
    },
  });
}
