/**
 * RMSNorm and LayerNorm on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { launch } from "./launch.ts";
import { columnSum } from "./linear.ts";
import type { KernelModule } from "./module.ts";

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
      // deno-fmt-ignore
      module.kernel("nano_rms_norm")(
        rows, C, l.address(x), l.address(weight), eps, l.address(y), l.address(rstd),
      );
      return [y, rstd];
    },
    gradient: (dy, [x, weight, rstd]) => ({
      x: () =>
        launch(module, {
          name: "NanoRmsNormDx",
          inputs: { dy, x, weight, rstd },
          run: (l) => {
            const dx = l.output(x.shape);
            // deno-fmt-ignore
            module.kernel("nano_rms_norm_dx")(
              rows, C, l.address(x), l.address(weight), l.address(rstd), l.address(dy),
              l.address(dx),
            );
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
      // deno-fmt-ignore
      module.kernel("nano_layer_norm")(
        rows, C, l.address(x), l.address(weight), l.address(bias), eps, l.address(y),
        l.address(mean), l.address(rstd),
      );
      return [y, mean, rstd];
    },
    gradient: (dy, [x, weight, mean, rstd]) => ({
      x: () =>
        launch(module, {
          name: "NanoLayerNormDx",
          inputs: { dy, x, weight, mean, rstd },
          run: (l) => {
            const dx = l.output(x.shape);
            // deno-fmt-ignore
            module.kernel("nano_layer_norm_dx")(
              rows, C, l.address(x), l.address(weight), l.address(mean), l.address(rstd),
              l.address(dy), l.address(dx),
            );
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
