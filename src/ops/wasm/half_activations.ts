/**
 * tanh-GELU and SwiGLU of 16-bit passes (`../half/half_activations.ts`) on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { PACKED_FORMATS } from "../half/packed_weight.ts";
import type { HalfFormat } from "../half/precision.ts";
import type { Gradients } from "../tape/fused_op.ts";
import { elementwise, geluGradient } from "./activations.ts";
import { roundHalf, roundingCode, unpack } from "./round_half.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";

/** R(R(silu(gate)) · up) of rounded gate and up, any shape. No gradient. */
export function swigluHalf(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  const options = { format: roundingCode(format) };
  return elementwise(module, "NanoSwigluHalf", "nano_swiglu_half", { gate, up }, "y", options);
}

/** The gradients of {@linkcode swigluHalf}, from its inputs packed and dy, which is rounded. */
export function swigluHalfGradients(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  dy: tf.Tensor,
  format: HalfFormat,
): Gradients {
  const wide = (words: tf.Tensor) => unpack(module, words, PACKED_FORMATS[format], dy.shape);
  const R = () => roundHalf(module, dy, format);
  return {
    gate: () =>
      elementwise(
        module,
        "NanoSwigluHalfDgate",
        "nano_swiglu_half_dgate",
        { gate: wide(gate), up: wide(up), dy: R() },
        "dgate",
        { format: roundingCode(format) },
      ),
    up: () => swigluHalf(module, wide(gate), R(), format), // R(R(silu(gate)) · R(dy))
  };
}

/** The gradient of tanh-GELU by x, which is packed. */
export function geluHalfGradient(
  module: KernelModule,
  x: tf.Tensor,
  dy: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  return geluGradient(module, unpack(module, x, PACKED_FORMATS[format], dy.shape), dy);
}
