/**
 * A fully connected layer of a 16-bit pass (`precision.ts`): R(R(x) R(W)ᵀ + R(b)), the sum in
 * float32. Keeps x and W as they are and rounds them again on the way back, so that it holds no
 * more memory than a float32 layer.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { withLazyGradients } from "./lazy_gradients.ts";
import { type PackedFormat, PackedWeight, type Weight } from "./packed_weight.ts";
import { type HalfFormat, withRoundedOperands } from "./precision.ts";
import { roundHalf } from "./round_half.ts";
import { unpackWeight } from "./unpack_weight.ts";
import { fusedKernels } from "./fused_kernels.ts";

// N rows, I input features, O output features

const PACKED: Record<HalfFormat, PackedFormat> = { bf16: "BF16", fp16: "F16" };

/** A weight with its values rounded; a packed one that has the format already, as it is. */
export function roundWeight(weight: Weight, format: HalfFormat): Weight {
  if (!(weight instanceof PackedWeight)) return roundHalf(weight, format);
  return weight.format === PACKED[format] ? weight : roundHalf(unpackWeight(weight), format);
}

function widen(weight: Weight): tf.Tensor2D {
  return (weight instanceof PackedWeight ? unpackWeight(weight) : weight) as tf.Tensor2D;
}

/** Σ over rows: [N, O] → [O]. */
function columnSum(rows: tf.Tensor2D): tf.Tensor {
  return fusedKernels()?.columnSum(rows) ?? rows.sum(0);
}

/**
 * R(R(x) R(W)ᵀ + R(b)). Gradients are written: R(R(dy) R(W)), R(R(dy)ᵀ R(x)) and R(Σ R(dy)).
 *
 * @param format to round to
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @param product the layer; it is called in float32
 * @returns [..., O]
 */
export function halfLinear(
  format: HalfFormat,
  x: tf.Tensor,
  weight: Weight,
  bias: tf.Tensor | undefined,
  product: (x: tf.Tensor, weight: Weight, bias?: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  const [O, I] = weight.shape;
  const tensor = weight instanceof PackedWeight ? null : weight;
  const rows = (values: tf.Tensor, columns: number) =>
    roundHalf(values, format).reshape([-1, columns]) as tf.Tensor2D;
  return withLazyGradients({
    inputs: { x, ...(tensor ? { weight: tensor } : {}), ...(bias ? { bias } : {}) },
    save: tensor ? [x, tensor] : [x],
    forward: () => {
      const rounded = roundWeight(weight, format);
      const b = bias && roundHalf(bias, format);
      const sum = withRoundedOperands(format, () => product(roundHalf(x, format), rounded, b));
      return roundHalf(sum, format); // [..., O]
    },
    gradient: (dy, [x, saved]) => ({
      x: () => {
        const W = widen(roundWeight(tensor ? saved : weight, format)); // [O, I]
        const dx = withRoundedOperands(format, () => tf.matMul(rows(dy, O), W));
        return roundHalf(dx, format).reshape(x.shape); // [..., I]
      },
      weight: () => {
        const dW = withRoundedOperands(format, () => tf.matMul(rows(dy, O), rows(x, I), true));
        return roundHalf(dW, format); // [O, I]
      },
      bias: () => roundHalf(columnSum(rows(dy, O)), format), // [O]
    }),
  });
}
