/**
 * Values of 16-bit formats on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { Gradients } from "../tape/fused_op.ts";
import type { HalfFormat } from "../half/precision.ts";
import { elementwise, geluGradient } from "./activations.ts";
import { launch } from "./runtime/launch.ts";
import type { KernelModule } from "./runtime/module.ts";
import { runRange } from "./runtime/parts.ts";

/** How kernels are told to round: `FORMAT_…` of kernels/src/packed.h. */
export function roundingCode(format: HalfFormat | null): number {
  return format === null ? 0 : format === "bf16" ? 1 : 2;
}

/** The values of x in a 16-bit format. No gradient. */
export function roundHalf(module: KernelModule, x: tf.Tensor, format: HalfFormat): tf.Tensor {
  return elementwise(module, "NanoRoundHalf", "nano_round_half", [x], [roundingCode(format)]);
}

/** The same in 16 bits each: int32 [⌈size / 2⌉]. No gradient. */
export function packHalf(module: KernelModule, x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const code = roundingCode(format);
  return launch(module, {
    name: "NanoPackHalf",
    inputs: { x },
    run: (l) => {
      const words = l.output([Math.ceil(x.size / 2)], "int32");
      // Pieces begin at multiples of four numbers, so that none shares a word.
      runRange(module, "nano_pack_half", x.size, 1, (start, size) => [
        ...[size, code, l.address(x) + 4 * start, l.address(words) + 2 * start],
      ]);
      return [words];
    },
  });
}

/** The numbers that {@linkcode packHalf} has packed, as float32. No gradient. */
export function unpackHalf(
  module: KernelModule,
  words: tf.Tensor,
  format: HalfFormat,
  shape: readonly number[],
): tf.Tensor {
  const code = roundingCode(format);
  return launch(module, {
    name: "NanoUnpackHalf",
    inputs: { words },
    run: (l) => {
      const out = l.output(shape);
      const size = shape.reduce((product, dim) => product * dim, 1);
      runRange(module, "nano_unpack", size, 1, (start, size) => [
        ...[code, start, size, l.address(words), l.address(out) + 4 * start],
      ]);
      return [out];
    },
  });
}

/** R(R(silu(gate)) · up) of rounded gate and up, any shape. No gradient. */
export function swigluHalf(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  const options = [roundingCode(format)];
  return elementwise(module, "NanoSwigluHalf", "nano_swiglu_half", [gate, up], options);
}

/** The gradients of {@linkcode swigluHalf}, from its inputs packed and dy, which is rounded. */
export function swigluHalfGradients(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  dy: tf.Tensor,
  format: HalfFormat,
): Gradients {
  const wide = (words: tf.Tensor) => unpackHalf(module, words, format, dy.shape);
  const R = () => roundHalf(module, dy, format);
  return {
    gate: () => {
      const inputs = [wide(gate), wide(up), R()], options = [roundingCode(format)];
      return elementwise(module, "NanoSwigluHalfDgate", "nano_swiglu_half_dgate", inputs, options);
    },
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
  return geluGradient(module, unpackHalf(module, x, format, dy.shape), dy);
}
