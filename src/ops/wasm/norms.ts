/**
 * RMSNorm and LayerNorm on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { launch } from "./runtime/launch.ts";
import { columnSum } from "./product/linear.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";
import { runRange } from "./runtime/parts.ts";

// C channels

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
        const [xs, ys] = [x, y].map((t) => l.address(t) + 4 * C * row);
        return [count, C, xs, l.address(weight), eps, ys, l.address(rstd) + 4 * row];
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
              const [xs, dys, dxs] = [x, dy, dx].map((t) => l.address(t) + 4 * C * row);
              return [count, C, xs, l.address(weight), l.address(rstd) + 4 * row, dys, adds, dxs];
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
            // deno-fmt-ignore
            module.kernel("nano_rms_norm_dgamma")(
              rows, C, l.address(x), l.address(rstd), l.address(dy), l.address(dw),
            );
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
        const [xs, ys] = [x, y].map((t) => l.address(t) + 4 * C * row);
        const [means, rstds] = [mean, rstd].map((t) => l.address(t) + 4 * row);
        return [count, C, xs, l.address(weight), l.address(bias), eps, ys, means, rstds];
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
              const [xs, dys, dxs] = [x, dy, dx].map((t) => l.address(t) + 4 * C * row);
              const [means, rstds] = [mean, rstd].map((t) => l.address(t) + 4 * row);
              return [count, C, xs, l.address(weight), means, rstds, dys, adds, dxs];
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
            // deno-fmt-ignore
            module.kernel("nano_layer_norm_dgamma")(
              rows, C, l.address(x), l.address(mean), l.address(rstd), l.address(dy),
              l.address(dw),
            );
            return [dw];
          },
        }),
      bias: () => columnSum(module, dy),
    }),
  });
}
