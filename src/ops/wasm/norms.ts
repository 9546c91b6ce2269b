/**
 * RMSNorm and LayerNorm on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type Launch, launch } from "./runtime/launch.ts";
import { columnSum } from "./product/linear.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { runRange } from "./runtime/parts.ts";

// C channels

/** Addresses of row `row` of tensors with C columns. */
function rowAt(l: Launch, C: number, row: number): (tensor: tf.TensorInfo) => number {
  return (tensor) => l.address(tensor) + 4 * C * row;
}

/** RMSNorm: x [..., C], weight [C] → [..., C]. */
export function rmsNorm(
  module: KernelModule,
  x: tf.Tensor,
  weight: tf.Tensor,
  eps: number,
): tf.Tensor {
  const C = weight.size;
  const rows = x.size / C;
  return launch(module, {
    name: "NanoRmsNorm",
    inputs: { x, weight },
    saveInputs: ["x", "weight"],
    saveOutputs: [false, true],
    run: (l) => {
      const y = l.output(x.shape);
      const rstd = l.output([rows]);
      runRange(module, "nano_rms_norm", rows, C, (row, count) => {
        const at = rowAt(l, C, row);
        return {
          ...{ rows: count, C, x: at(x), gamma: l.address(weight), eps, y: at(y) },
          rstd: l.address(rstd) + 4 * row,
        };
      });
      return [y, rstd];
    },
    gradient: (dy, [x, weight, rstd]) => ({
      x: (sums) =>
        launch(module, {
          name: "NanoRmsNormDx",
          inputs: { dy, x, weight, rstd },
          run: (l) => {
            const dx = l.target(x.shape, sums?.x);
            const adds = sums?.x === undefined ? 0 : 1;
            runRange(module, "nano_rms_norm_dx", rows, C, (row, count) => {
              const at = rowAt(l, C, row);
              return {
                ...{ rows: count, C, x: at(x), gamma: l.address(weight), dy: at(dy) },
                ...{ rstd: l.address(rstd) + 4 * row, adds, dx: at(dx) },
              };
            });
            return [dx];
          },
        }),
      weight: () =>
        launch(module, {
          name: "NanoRmsNormDweight",
          inputs: { dy, x, rstd },
          run: (l) => {
            const dw = l.output([C]);
            module.call("nano_rms_norm_dgamma", {
              ...{ rows, C, x: l.address(x), rstd: l.address(rstd) },
              ...{ dy: l.address(dy), dgamma: l.address(dw) },
            });
            return [dw];
          },
        }),
    }),
  });
}

/** LayerNorm: x [..., C], weight [C], bias [C] → [..., C]. */
export function layerNorm(
  module: KernelModule,
  x: tf.Tensor,
  weight: tf.Tensor,
  bias: tf.Tensor,
  eps: number,
): tf.Tensor {
  const C = weight.size;
  const rows = x.size / C;
  return launch(module, {
    name: "NanoLayerNorm",
    inputs: { x, weight, bias },
    saveInputs: ["x", "weight"],
    saveOutputs: [false, true, true],
    run: (l) => {
      const y = l.output(x.shape);
      const mean = l.output([rows]);
      const rstd = l.output([rows]);
      runRange(module, "nano_layer_norm", rows, C, (row, count) => {
        const at = rowAt(l, C, row);
        return {
          ...{ rows: count, C, x: at(x), gamma: l.address(weight), beta: l.address(bias), eps },
          ...{ y: at(y), mean: l.address(mean) + 4 * row, rstd: l.address(rstd) + 4 * row },
        };
      });
      return [y, mean, rstd];
    },
    gradient: (dy, [x, weight, mean, rstd]) => ({
      x: (sums) =>
        launch(module, {
          name: "NanoLayerNormDx",
          inputs: { dy, x, weight, mean, rstd },
          run: (l) => {
            const dx = l.target(x.shape, sums?.x);
            const adds = sums?.x === undefined ? 0 : 1;
            runRange(module, "nano_layer_norm_dx", rows, C, (row, count) => {
              const at = rowAt(l, C, row);
              return {
                ...{ rows: count, C, x: at(x), gamma: l.address(weight), dy: at(dy) },
                ...{ mean: l.address(mean) + 4 * row, rstd: l.address(rstd) + 4 * row },
                ...{ adds, dx: at(dx) },
              };
            });
            return [dx];
          },
        }),
      weight: () =>
        launch(module, {
          name: "NanoLayerNormDweight",
          inputs: { dy, x, mean, rstd },
          run: (l) => {
            const dw = l.output([C]);
            module.call("nano_layer_norm_dgamma", {
              ...{ rows, C, x: l.address(x), mean: l.address(mean), rstd: l.address(rstd) },
              ...{ dy: l.address(dy), dgamma: l.address(dw) },
            });
            return [dw];
          },
        }),
      bias: () => columnSum(module, dy),
    }),
  });
}
