/**
 * tanh-GELU, SwiGLU, dropout and in-place sums on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { launch, launchAll, launchOn, sharedGradients } from "./runtime/launch.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { runRange } from "./runtime/parts.ts";

/** Runs `kernel(size, ...options, ...addresses)`, whose values do not depend on each other. */
export function runElements(
  module: KernelModule,
  kernel: string,
  size: number,
  at: readonly number[],
  options: readonly number[] = [],
): void {
  const parameters = (start: number, size: number) => [
    ...[size, ...options],
    ...at.map((x) => x + 4 * start),
  ];
  runRange(module, kernel, size, 1, parameters);
}

/**
 * An op of `kernel(size, ...options, ...addresses of inputs, address of output)`, the output shaped
 * as the first input. No gradient.
 */
export function elementwise(
  module: KernelModule,
  name: string,
  kernel: string,
  inputs: readonly tf.Tensor[],
  options: readonly number[] = [],
): tf.Tensor {
  return launch(module, {
    name,
    inputs: Object.fromEntries(inputs.map((tensor, i) => [`x${i}`, tensor])),
    run: (l) => {
      const out = l.output(inputs[0].shape);
      runElements(module, kernel, inputs[0].size, [...inputs, out].map(l.address), options);
      return [out];
    },
  });
}

/** sum += x, of one shape. */
export function addTo(module: KernelModule, sum: tf.Tensor, x: tf.Tensor): void {
  runElements(module, "nano_add_to", x.size, [x, sum].map(launchOn(module).address));
}

/**
 * tanh-GELU of any shape.
 *
 * @param activated its value, where a product has computed it already
 */
export function gelu(
  module: KernelModule,
  x: tf.Tensor,
  activated?: tf.TensorInfo,
): tf.Tensor {
  return launch(module, {
    name: "NanoGelu",
    inputs: { x },
    saveInputs: ["x"],
    run: (l) => {
      if (activated !== undefined) return [activated];
      const y = l.output(x.shape);
      runElements(module, "nano_gelu", x.size, [x, y].map(l.address));
      return [y];
    },
    gradient: (dy, [x]) => ({
      x: () => geluGradient(module, x, dy),
    }),
  });
}

/** The gradient of tanh-GELU by x. */
export function geluGradient(module: KernelModule, x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  return elementwise(module, "NanoGeluDx", "nano_gelu_dx", [x, dy]);
}

/** silu(gate) · up, any shape. */
export function swiglu(module: KernelModule, gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return launch(module, {
    name: "NanoSwiglu",
    inputs: { gate, up },
    saveInputs: ["gate", "up"],
    run: (l) => {
      const y = l.output(gate.shape);
      runElements(module, "nano_swiglu", gate.size, [gate, up, y].map(l.address));
      return [y];
    },
    gradient: (dy, [gate, up]) => {
      const both = sharedGradients(() =>
        launchAll(module, {
          name: "NanoSwigluBackward",
          inputs: { gate, up, dy },
          run: (l) => {
            const gradients = [gate, up].map(({ shape }) => l.output(shape));
            const at = [gate, up, dy, ...gradients].map(l.address);
            runElements(module, "nano_swiglu_backward", gate.size, at);
            return gradients;
          },
        })
      );
      return { gate: both(0), up: both(1) };
    },
  });
}

/** Dropout with the mask that the counter gives: any shape. */
export function dropout(
  module: KernelModule,
  x: tf.Tensor,
  rate: number,
  key: number,
): tf.Tensor {
  return launch(module, {
    name: "NanoDropout",
    inputs: { x },
    run: (l) => {
      const y = l.output(x.shape);
      // deno-fmt-ignore
      module.kernel("nano_dropout")(
        x.size, l.address(x), key, Math.ceil(rate * 2 ** 32), Math.fround(1 / (1 - rate)),
        l.address(y),
      );
      return [y];
    },
    gradient: (dy) => ({ x: () => dropout(module, dy, rate, key) }),
  });
}
