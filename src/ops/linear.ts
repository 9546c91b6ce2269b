/**
 * Fully connected layer, y = x Wᵀ + b, with W in PyTorch's layout [out, in]
 * (torch.nn.functional.linear), the LoRA branch (Hu et al., 2021) and tanh-GELU.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { add, scale } from "./arithmetic.ts";
import type { LinearExtras, LowRankBranch, ResidualExtras } from "./fused_linear.ts";
import { gelu } from "./activations.ts";
import { halfGelu } from "./half/half_activations.ts";
import { halfBranchLinear } from "./half/half_branch.ts";
import { halfLinear } from "./half/half_linear.ts";
import { PackedWeight, type Weight } from "./half/packed_weight.ts";
import { type HalfFormat, halfFormat } from "./half/precision.ts";
import { castHalf } from "./half/round_half.ts";
import { unpackWeight } from "./half/unpack_weight.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { withGradient } from "./tape/with_gradient.ts";

// N rows, I input features, O output features

/**
 * The plain composite: one product and one addition of tfjs.
 *
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function linearComposite(x: tf.Tensor, weight: tf.Tensor, bias?: tf.Tensor): tf.Tensor {
  const [outFeatures, inFeatures] = weight.shape;
  const rows = x.reshape([-1, inFeatures]) as tf.Tensor2D; // [N, I]
  const product = tf.matMul(rows, weight as tf.Tensor2D, false, true); // [N, O]
  const y = bias ? product.add(bias) : product; // [N, O]
  return y.reshape([...x.shape.slice(0, -1), outFeatures]); // [..., O]
}

/**
 * The plain composite of {@linkcode linear} for a packed weight. It is widened for the product and
 * again in the backward pass; the wide copy is not kept.
 */
export function packedLinearComposite(
  x: tf.Tensor,
  weight: PackedWeight,
  bias?: tf.Tensor,
): tf.Tensor {
  const [outFeatures, inFeatures] = weight.shape;
  return withGradient(bias ? [x, bias] : [x], () => ({
    value: linear(x, unpackWeight(weight), bias), // [..., O]
    gradient: (dy) => {
      const rows = dy.reshape([-1, outFeatures]) as tf.Tensor2D; // [N, O]
      const product = tf.matMul(rows, unpackWeight(weight) as tf.Tensor2D); // [N, I]
      const dx = product.reshape([...dy.shape.slice(0, -1), inFeatures]); // [..., I]
      return bias ? [dx, rows.sum(0)] : [dx];
    },
  }));
}

/** f(x). Nothing else may read x, which is freed unless the backward pass needs it. */
function after(x: tf.Tensor, f: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const y = f(x);
  if (y !== x) x.dispose();
  return y;
}

/** y + s · (x Aᵀ) Bᵀ, rounded to 16 bits in a 16-bit pass; y is freed. */
function addBranch(
  y: tf.Tensor,
  x: tf.Tensor,
  { loraA, loraB, scaling, input = x }: LowRankBranch,
): tf.Tensor {
  const wide = after(linear(input, loraA), (narrow) => linear(narrow, loraB)); // [..., O]
  const side = after(wide, (wide) => scale(wide, scaling)); // [..., O]
  const sum = after(side, (side) => after(y, (y) => add(y, side))); // [..., O]
  return after(sum, (sum) => castHalf(sum, halfFormat()));
}

/** The layer with its branch in a 16-bit pass, if the backend's products round; else null. */
function branchOfRounding(
  x: tf.Tensor,
  weight: Weight,
  bias: tf.Tensor | undefined,
  { loraA, loraB, scaling, input = x }: LowRankBranch,
): tf.Tensor | null {
  const half = halfFormat();
  const kernels = half === null ? undefined : fusedKernels()?.rounding;
  if (half === null || kernels === undefined) return null;
  return after(
    linear(input, loraA), // [..., r]
    (narrow) => halfBranchLinear(kernels, half, x, weight, bias, { narrow, loraB, scaling }),
  );
}

/** R(gelu()) of a layer of a 16-bit pass, by one product that computes both. */
function halfLinearWithGelu(
  format: HalfFormat,
  x: tf.Tensor,
  weight: Weight,
  bias: tf.Tensor | undefined,
): tf.Tensor {
  let activated: tf.Tensor | undefined;
  const z = halfLinear(format, x, weight, { bias, takeGelu: (y) => void (activated = y) });
  const y = halfGelu(format, z, gelu, activated);
  tf.dispose([z, ...activated === undefined ? [] : [activated]]);
  return y;
}

/**
 * The layer as separate ops, for 16-bit passes and for backends without kernels of ours. In a 16-bit
 * pass the branch is part of the layer if the backend's products round.
 *
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function separateLinear(
  x: tf.Tensor,
  weight: Weight,
  bias: tf.Tensor | undefined,
  { branch, gelu: activates = false }: LinearExtras,
): tf.Tensor {
  const y = branch === undefined // [..., O]
    ? linear(x, weight, bias)
    : branchOfRounding(x, weight, bias, branch) ?? addBranch(linear(x, weight, bias), x, branch);
  return activates ? after(y, gelu) : y;
}

/**
 * y = x Wᵀ + b, or with a LoRA branch y = x Wᵀ + b + s · (x Aᵀ) Bᵀ; optionally its tanh-GELU.
 *
 * @param x [..., I]
 * @param weight [O, I]; a packed one is frozen
 * @param bias [O], if there is one
 * @param extras the LoRA branch, the activation and what is added to the result, if any
 * @returns [..., O]
 */
export function linear(
  x: tf.Tensor,
  weight: Weight,
  bias?: tf.Tensor,
  extras?: ResidualExtras,
): tf.Tensor {
  const half = halfFormat();
  const { residual, ...own } = extras ?? {};
  const isPlain = !own.branch && !own.gelu;
  const addsInProduct = half !== null && isPlain && fusedKernels()?.rounding !== undefined;
  if (residual !== undefined && !addsInProduct) {
    return after(linear(x, weight, bias, own), (y) => add(residual, y));
  }
  const fused = half === null ? fusedKernels() : null;
  if (fused !== null) return fused.linear(x, weight, bias, own);
  if (half !== null && own.gelu && !own.branch && fusedKernels()?.rounding !== undefined) {
    return halfLinearWithGelu(half, x, weight, bias);
  }
  if (!isPlain) return separateLinear(x, weight, bias, own);
  if (half !== null) return halfLinear(half, x, weight, { bias, residual });
  return weight instanceof PackedWeight
    ? packedLinearComposite(x, weight, bias)
    : linearComposite(x, weight, bias);
}
