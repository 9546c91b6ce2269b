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

/** y = silu(gate) · up with both factors and the product rounded. */
function product(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  format: HalfFormat,
  gradient?: (dy: tf.Tensor, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>,
): tf.Tensor {
  return launch(module, {
    name: gradient ? "NanoSwigluHalf" : "NanoSwigluHalfDup",
    inputs: { gate, up },
    ...(gradient ? { saveInputs: ["gate", "up"], gradient } : {}),
    run: (l) => {
      const y = l.output(gate.shape);
      runElements(module, "nano_swiglu_half", gate.size, format, [gate, up, y].map(l.address));
      return [y];
    },
  });
}

/** R(R(silu(gate)) · up), any shape, with gradients rounded where those values are. */
export function swigluHalf(
  module: KernelModule,
  gate: tf.Tensor,
  up: tf.Tensor,
  format: HalfFormat,
): tf.Tensor {
  return product(module, gate, up, format, (dy, [gate, up]) => ({
    gate: () => {
      const rounded = roundHalf(module, dy, format);
      return launch(module, {
        name: "NanoSwigluHalfDgate",
        inputs: { gate, up, rounded },
        run: (l) => {
          const dgate = l.output(gate.shape);
          const addresses = [gate, up, rounded, dgate].map(l.address);
          runElements(module, "nano_swiglu_half_dgate", gate.size, format, addresses);
          return [dgate];
        },
      });
    },
    up: () => product(module, gate, roundHalf(module, dy, format), format),
  }));
}
