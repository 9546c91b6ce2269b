/**
 * y = x Wᵀ + b in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { launch } from "./launch.ts";
import { multiply } from "./product.ts";
import { columnSum } from "./column_sum.ts";

// I input features, O output features

/** dx = dy W: [..., O] and [O, I] → [..., I]. */
function linearDx(dy: tf.Tensor, weight: tf.Tensor): tf.Tensor {
  const [O, I] = weight.shape;
  return launch({
    name: "GpuLinearDx",
    inputs: { dy, weight },
    run: (l) => {
      const c = l.output([...dy.shape.slice(0, -1), I]);
      multiply(l, { kind: "nn", M: dy.size / O, N: I, K: O, a: dy, b: weight, c });
      return [c];
    },
  });
}

/** dW = dyᵀ x: [..., O] and [..., I] → [O, I]. */
function linearDw(dy: tf.Tensor, x: tf.Tensor, [O, I]: number[]): tf.Tensor {
  return launch({
    name: "GpuLinearDw",
    inputs: { dy, x },
    run: (l) => {
      const c = l.output([O, I]);
      multiply(l, { kind: "tn", M: O, N: I, K: dy.size / O, a: dy, b: x, c });
      return [c];
    },
  });
}

/** y = x Wᵀ + b: x [..., I], weight [O, I], bias [O] → [..., O]. */
export function linear(x: tf.Tensor, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor {
  const [O, I] = weight.shape;
  if (x.shape[x.rank - 1] !== I) {
    throw new Error(
      `Cannot run a linear layer [${weight.shape}] on [${x.shape}]: the last dim must be ${I}.`,
    );
  }
  return launch({
    name: bias === undefined ? "GpuLinear" : "GpuLinearBias",
    inputs: bias === undefined ? { x, weight } : { x, weight, bias },
    saveInputs: ["x", "weight"],
    run: (l) => {
      const c = l.output([...x.shape.slice(0, -1), O]);
      multiply(l, { kind: "nt", M: x.size / I, N: O, K: I, a: x, b: weight, c, bias });
      return [c];
    },
    gradient: (dy, [x, weight]) => ({
      x: () => linearDx(dy, weight),
      weight: () => linearDw(dy, x, [O, I]),
      bias: () => columnSum(dy),
    }),
  });
}
