/**
 * y = x Wᵀ + b on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { GemmFunction } from "./gemm.ts";
import { launch } from "./launch.ts";
import type { KernelModule } from "./module.ts";
import { runRange } from "./parts.ts";

// N rows, I input features, O output features

/** Sum over all but the last dimension: [..., C] → [C]. */
export function columnSum(module: KernelModule, x: tf.Tensor): tf.Tensor {
  const C = x.shape[x.rank - 1];
  return launch(module, {
    name: "NanoColumnSum",
    inputs: { x },
    run: (l) => {
      const out = l.output([C]);
      module.kernel("nano_column_sum")(x.size / C, C, l.address(x), l.address(out));
      return [out];
    },
  });
}

/** dx = dy W: [..., O] and [O, I] → [..., I]. Written. */
function linearDx(
  module: KernelModule,
  gemm: GemmFunction,
  dy: tf.Tensor,
  weight: tf.Tensor,
): tf.Tensor {
  const [O, I] = weight.shape;
  return launch(module, {
    name: "NanoLinearDx",
    inputs: { dy, weight },
    run: (l) => {
      const out = l.output([...dy.shape.slice(0, -1), I]);
      // deno-fmt-ignore
      gemm({
        batch: 1, m: dy.size / O, n: I, k: O,
        a: l.address(dy), aRow: O, aColumn: 1, aBatch: 0,
        b: l.address(weight), bRow: I, bColumn: 1, bBatch: 0,
        c: l.address(out), cRow: I, cBatch: 0, accumulate: false,
      });
      return [out];
    },
  });
}

/** dW = dyᵀ x: [..., O] and [..., I] → [O, I]. Written. */
function linearDw(
  module: KernelModule,
  gemm: GemmFunction,
  dy: tf.Tensor,
  x: tf.Tensor,
  [O, I]: number[],
): tf.Tensor {
  return launch(module, {
    name: "NanoLinearDw",
    inputs: { dy, x },
    run: (l) => {
      const out = l.output([O, I]);
      // deno-fmt-ignore
      gemm({
        batch: 1, m: O, n: I, k: dy.size / O,
        a: l.address(dy), aRow: 1, aColumn: O, aBatch: 0,
        b: l.address(x), bRow: I, bColumn: 1, bBatch: 0,
        c: l.address(out), cRow: I, cBatch: 0, accumulate: false,
      });
      return [out];
    },
  });
}

/** y = x Wᵀ + b: x [..., I], weight [O, I], bias [O] → [..., O]. */
export function linear(
  module: KernelModule,
  gemm: GemmFunction,
  x: tf.Tensor,
  weight: tf.Tensor,
  bias?: tf.Tensor,
): tf.Tensor {
  const [O, I] = weight.shape;
  if (x.shape[x.rank - 1] !== I) {
    throw new Error(
      `Cannot run a linear layer [${weight.shape}] on [${x.shape}]: the last dim must be ${I}.`,
    );
  }
  const rows = x.size / I;
  return launch(module, {
    name: bias === undefined ? "NanoLinear" : "NanoLinearBias",
    inputs: bias === undefined ? { x, weight } : { x, weight, bias },
    saveInputs: ["x", "weight"],
    run: (l) => {
      const out = l.output([...x.shape.slice(0, -1), O]);
      // deno-fmt-ignore
      gemm({
        batch: 1, m: rows, n: O, k: I,
        a: l.address(x), aRow: I, aColumn: 1, aBatch: 0,
        b: l.address(weight), bRow: 1, bColumn: I, bBatch: 0,
        c: l.address(out), cRow: O, cBatch: 0, accumulate: false,
      });
      if (bias !== undefined) {
        runRange(module, "nano_add_bias", rows, O, (row, count) => [
          count,
          O,
          l.address(out) + 4 * O * row,
          l.address(bias),
        ]);
      }
      return [out];
    },
    gradient: (dy, [x, weight]) => ({
      x: () => linearDx(module, gemm, dy, weight),
      weight: () => linearDw(module, gemm, dy, x, [O, I]),
      bias: () => columnSum(module, dy),
    }),
  });
}
