/**
 * What fully connected layers (`../fused_linear.ts`) are made of in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { fusedLinear, type LinearExtras, type LinearKernels } from "../fused_linear.ts";
import { PackedWeight, type Weight } from "../packed_weight.ts";
import { columnSum } from "./column_sum.ts";
import { gelu } from "./elementwise.ts";
import { type GpuLaunch, launchAll } from "./launch.ts";
import { multiply } from "./product.ts";

const KERNELS: LinearKernels<GpuLaunch> = {
  prefix: "Gpu",
  launchAll,
  output: (l, shape) => l.output(shape),
  multiply: (l, { b, ...product }) =>
    multiply(
      l,
      b instanceof PackedWeight
        ? { ...product, b: b.words, bPacked: { format: b.format, shape: b.shape } }
        : { ...product, b },
    ),
  columnSum,
  gelu,
};

/** A fully connected layer: x [..., I], weight [O, I], bias [O] → [..., O]. */
export function linear(
  x: tf.Tensor,
  weight: Weight,
  bias?: tf.Tensor,
  extras?: LinearExtras,
): tf.Tensor {
  return fusedLinear(KERNELS, x, weight, bias, extras);
}
