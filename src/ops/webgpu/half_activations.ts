/**
 * tanh-GELU and SwiGLU of 16-bit passes in WGSL (`../half/half_activations.ts`). The backward pass
 * reads their inputs in 16 bits.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type Gradients, sharedGradients } from "../tape/fused_op.ts";
import type { HalfFormat } from "../half/precision.ts";
import {
  type Elementwise,
  GELU,
  GELU_GRADIENT,
  recordGelu,
  recordInto,
  SIGMOID,
} from "./activations.ts";
import { launch, launchAll } from "./runtime/launch.ts";

/** R(gelu(x)), stored in 16 bits. No gradient. */
export function geluHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor {
  return launch({
    name: "GpuGeluHalf",
    inputs: { x },
    run: (l) => [recordGelu(l, x, l.halfOutput(x.shape, format))],
  });
}

/** R(R(silu(gate)) · up) of rounded gate and up, of any shape. No gradient. */
export function swigluHalf(gate: tf.Tensor, up: tf.Tensor, format: HalfFormat): tf.Tensor {
  return launch({
    name: "GpuSwigluHalf",
    inputs: { gate, up },
    run: (l) => {
      const out = l.halfOutput(gate.shape, format);
      recordInto(l, {
        name: `swiglu ${format}`,
        inputs: [gate, up],
        rounds: format,
        declarations: SIGMOID,
        body: "y = round_half(round_half(x0 * sigmoid(x0)) * x1);",
        flops: 20,
      }, [out]);
      return [out];
    },
  });
}

/**
 * The gradients of {@linkcode swigluHalf}, rounded where its values are rounded.
 *
 * @param gate as `RoundingKernels.store` gives it
 * @param up as `RoundingKernels.store` gives it
 * @param dy is rounded first
 */
export function swigluHalfGradients(
  gate: tf.Tensor,
  up: tf.Tensor,
  dy: tf.Tensor,
  format: HalfFormat,
): Gradients {
  const op: Elementwise<tf.TensorInfo> = {
    name: `swiglu backward ${format}`,
    inputs: [dy, gate, up],
    rounds: format,
    declarations: SIGMOID,
    body: `let s = sigmoid(x1);
      let dz = round_half(x0);
      let d = round_half(dz * x2);
      y = round_half(d * s + d * x1 * (s * (1.0 - s)));
      y1 = round_half(dz * round_half(x1 * s));`,
    flops: 50,
  };
  const both = sharedGradients(() =>
    launchAll({
      name: "GpuSwigluHalfBackward",
      inputs: { gate, up, dy },
      run: (l) => {
        const gradients = [
          l.halfOutput(dy.shape, format),
          l.halfOutput(dy.shape, format),
        ] as const;
        recordInto(l, op, gradients);
        return [...gradients];
      },
    })
  );
  return { gate: both(0), up: both(1) };
}

/** The gradient of tanh-GELU, rounded, by x as `RoundingKernels.store` gives it. */
export function geluHalfGradient(x: tf.Tensor, dy: tf.Tensor, format: HalfFormat): tf.Tensor {
  return launch({
    name: "GpuGeluHalfDx",
    inputs: { x, dy },
    run: (l) => {
      const out = l.halfOutput(dy.shape, format);
      recordInto(l, {
        name: "gelu dx",
        inputs: [dy, x],
        declarations: GELU,
        body: `let x = x1;
      let dz = x0;
      ${GELU_GRADIENT}`,
        flops: 25,
      }, [out]);
      return [out];
    },
  });
}
