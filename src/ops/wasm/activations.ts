/**
 * tanh-GELU, SwiGLU, dropout and in-place sums on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { launch, launchAll, launchOn, sharedGradients } from "./runtime/launch.ts";
import type { KernelArguments, KernelModule, KernelName } from "./runtime/kernel_module.ts";
import { runRange } from "./runtime/parts.ts";

/**
 * Runs a kernel over `n` elements that do not depend on each other.
 *
 * @param addresses of its arrays, by the names of the kernel's parameters
 * @param options its other arguments
 */
export function runElements<Name extends KernelName>(
  module: KernelModule,
  kernel: Name,
  n: number,
  addresses: Readonly<Record<string, number>>,
  options: Readonly<Record<string, number>> = {},
): void {
  const arrays = Object.entries(addresses);
  runRange(module, kernel, n, 1, (start, size) => {
    const from = Object.fromEntries(arrays.map(([name, at]) => [name, at + 4 * start]));
    return { n: size, ...options, ...from } as unknown as KernelArguments<Name>;
  });
}

/**
 * An op of such a kernel, the output shaped as the first input. No gradient.
 *
 * @param inputs tensors, by the names of the kernel's parameters
 * @param output name of the parameter that takes the output's address
 */
export function elementwise(
  module: KernelModule,
  name: string,
  kernel: KernelName,
  inputs: Readonly<Record<string, tf.Tensor>>,
  output: string,
  options: Readonly<Record<string, number>> = {},
): tf.Tensor {
  return launch(module, {
    name,
    inputs: { ...inputs },
    run: (l) => {
      const [first] = Object.values(inputs);
      const out = l.output(first.shape);
      const tensors = Object.entries({ ...inputs, [output]: out });
      const addresses = Object.fromEntries(tensors.map(([key, x]) => [key, l.address(x)]));
      runElements(module, kernel, first.size, addresses, options);
      return [out];
    },
  });
}

/** sum += x, of one shape. */
export function addTo(module: KernelModule, sum: tf.Tensor, x: tf.Tensor): void {
  const { address } = launchOn(module);
  runElements(module, "nano_add_to", x.size, { x: address(x), y: address(sum) });
}

/**
 * tanh-GELU of any shape.
 *
 * @param activated its value, if a product has computed it already
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
      runElements(module, "nano_gelu", x.size, { x: l.address(x), y: l.address(y) });
      return [y];
    },
    gradient: (dy, [x]) => ({
      x: () => geluGradient(module, x, dy),
    }),
  });
}

/** The gradient of tanh-GELU by x. */
export function geluGradient(module: KernelModule, x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  return elementwise(module, "NanoGeluDx", "nano_gelu_dx", { x, dy }, "dx");
}

/** silu(gate) · up, any shape. */
export function swiglu(module: KernelModule, gate: tf.Tensor, up: tf.Tensor): tf.Tensor {
  return launch(module, {
    name: "NanoSwiglu",
    inputs: { gate, up },
    saveInputs: ["gate", "up"],
    run: (l) => {
      const y = l.output(gate.shape);
      const at = { gate: l.address(gate), up: l.address(up), y: l.address(y) };
      runElements(module, "nano_swiglu", gate.size, at);
      return [y];
    },
    gradient: (dy, [gate, up]) => {
      const both = sharedGradients(() =>
        launchAll(module, {
          name: "NanoSwigluBackward",
          inputs: { gate, up, dy },
          run: (l) => {
            const dgate = l.output(gate.shape), dup = l.output(up.shape);
            runElements(module, "nano_swiglu_backward", gate.size, {
              ...{ gate: l.address(gate), up: l.address(up), dy: l.address(dy) },
              ...{ dgate: l.address(dgate), dup: l.address(dup) },
            });
            return [dgate, dup];
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
      module.call("nano_dropout", {
        n: x.size,
        x: l.address(x),
        key,
        threshold: Math.ceil(rate * 2 ** 32),
        keep: Math.fround(1 / (1 - rate)),
        y: l.address(y),
      });
      return [y];
    },
    gradient: (dy) => ({ x: () => dropout(module, dy, rate, key) }),
  });
}
