/**
 * Rounding to 16-bit formats on the wasm heap, and 16-bit numbers to float32 and back.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { elementCount } from "../../element_count.ts";
import type { PackedFormat } from "../half/packed_weight.ts";
import type { HalfFormat } from "../half/precision.ts";
import { elementwise } from "./activations.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { launch } from "./runtime/launch.ts";
import { runRange } from "./runtime/parts.ts";

/** `FORMAT_…` of kernels/src/packed.h, by the names in files. */
export const FORMAT_CODES: Readonly<Record<PackedFormat, number>> = { BF16: 1, F16: 2, Q8: 3 };

/** The code of what a kernel rounds to; 0: it does not round. */
export function roundingCode(format: HalfFormat | null): number {
  return format === null ? 0 : format === "bf16" ? FORMAT_CODES.BF16 : FORMAT_CODES.F16;
}

/** The values of x in a 16-bit format. No gradient. */
export function roundHalf(module: KernelModule, x: tf.Tensor, format: HalfFormat): tf.Tensor {
  const options = { format: roundingCode(format) };
  return elementwise(module, "NanoRoundHalf", "nano_round_half", { x }, "y", options);
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
      runRange(module, "nano_pack_half", x.size, 1, (start, size) => ({
        n: size,
        format: code,
        x: l.address(x) + 4 * start,
        bits: l.address(words) + 2 * start,
      }));
      return [words];
    },
  });
}

/** 16-bit numbers as float32: int32 [⌈size / 2⌉] → `shape`. No gradient. */
export function unpack(
  module: KernelModule,
  words: tf.Tensor,
  format: PackedFormat,
  shape: readonly number[],
): tf.Tensor {
  return launch(module, {
    name: "NanoUnpack",
    inputs: { words },
    run: (l) => {
      const out = l.output(shape);
      runRange(module, "nano_unpack", elementCount(shape), 1, (start, size) => ({
        format: FORMAT_CODES[format],
        first: start,
        count: size,
        values: l.address(words),
        out: l.address(out) + 4 * start,
      }));
      return [out];
    },
  });
}
