/**
 * The products of fully connected layers (`../../fused_linear.ts`) in WGSL.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { fusedLinear, type LinearExtras, type LinearKernels } from "../../fused_linear.ts";
import type { Weight } from "../../half/packed_weight.ts";
import { columnSum } from "./column_sum.ts";
import { gelu, recordGelu } from "../activations.ts";
import { type GpuLaunch, launchAll } from "../runtime/launch.ts";
import { multiply, operandB } from "./product.ts";

const KERNELS: LinearKernels<GpuLaunch> = {
  prefix: "Gpu",
  launchAll,
  target: (l, shape, sum) => l.target(shape, sum),
  multiply: (l, { b, activated, ...product }) => {
    // On a software adapter a lane holds so many sums that a separate GELU is faster.
    const inStore = l.isFallback ? undefined : activated;
    multiply(l, { ...product, ...operandB(b), activated: inStore });
    if (activated !== undefined && inStore === undefined) recordGelu(l, product.c, activated);
  },
  columnSum: (x) => columnSum(x),
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
