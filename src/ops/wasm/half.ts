/**
 * Values of 16-bit formats on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { HalfFormat } from "../precision.ts";
import { launch } from "./launch.ts";
import type { KernelModule } from "./module.ts";
import { runRange } from "./parts.ts";

/** How kernels are told to round: `FORMAT_…` of kernels/src/packed.h. */
export function roundingCode(format: HalfFormat | null): number {
  return format === null ? 0 : format === "bf16" ? 1 : 2;
}

/** Runs `kernel(size, format, ...addresses)`, whose values do not depend on each other. */
function runElements(
  module: KernelModule,
  kernel: string,
  size: number,
  format: HalfFormat,
  at: number[],
): void {
  const code = roundingCode(format);
  runRange(module, kernel, size, 1, (start, size) => [size, code, ...at.map((x) => x + 4 * start)]);
}

/** The values of x in a 16-bit format. No gradient. */
export function roundHalf(module: KernelModule, x: tf.Tensor, format: HalfFormat): tf.Tensor {
  return launch(module, {
    name: "NanoRoundHalf",
    inputs: { x },
    run: (l) => {
      const y = l.output(x.shape);
      runElements(module, "nano_round_half", x.size, format, [x, y].map(l.address));
      return [y];
    },
  });
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

/** Runs `kernel` on tensors of one shape, for another of that shape. */
function elementwise(
  module: KernelModule,
  [name, kernel]: readonly [name: string, kernel: string],
  inputs: readonly tf.Tensor[],
  format: HalfFormat,
): tf.Tensor {
  return launch(module, {
    name,
    inputs: Object.fromEntries(inputs.map((tensor, i) => [`x${i}`, tensor])),
    run: (l) => {
      const out = l.output(inputs[0].shape);
      runElements(module, kernel, inputs[0].size, format, [...inputs, out].map(l.address));
      return [out];
    },
  });
}

/** R(R(silu(gate)) · up), any shape; of rounded dy in the place of up, dup. No gradient. */
export function swigluHalf(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  return elementwise(module, ["NanoSwigluHalf", "nano_swiglu_half"], [gate, up], format);
}

/** The gradient of {@linkcode swigluHalf} by gate, of rounded dy. */
export function swigluHalfGate(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  dy: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  const kernel = ["NanoSwigluHalfDgate", "nano_swiglu_half_dgate"] as const;
  return elementwise(module, kernel, [gate, up, dy], format);
}
