/**
 * A fully connected layer of a 16-bit pass (`precision.ts`): R(R(x) R(W)ᵀ + R(b)), the sum in
 * float32. Keeps R(x) in 16 bits, once for all layers that read x, and W as it is, which it rounds
 * again on the way back.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { wantsGradient } from "./fused_op.ts";
import { fusedKernels } from "./fused_kernels.ts";
import { withLazyGradients } from "./lazy_gradients.ts";
import { sharedPackedHalf, unpackHalf } from "./pack_half.ts";
import { PACKED_FORMATS, PackedWeight, type Weight } from "./packed_weight.ts";
import { type HalfFormat, withPrecision } from "./precision.ts";
import { isRecording } from "./recording.ts";
import { roundHalf } from "./round_half.ts";
import { unpackWeight } from "./unpack_weight.ts";

// N rows, I input features, O output features

/** A weight with its values rounded; a packed one that has the format already, as it is. */
export function roundWeight(weight: Weight, format: HalfFormat): Weight {
  if (!(weight instanceof PackedWeight)) return roundHalf(weight, format);
  return weight.format === PACKED_FORMATS[format]
    ? weight
    : roundHalf(unpackWeight(weight), format);
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
  const { shape } = x;
  const tensor = weight instanceof PackedWeight ? null : weight;
  const words = tensor !== null && wantsGradient(tensor) && isRecording()
    ? sharedPackedHalf(x, format)
    : null;
  const rows = (values: tf.Tensor, columns: number) => values.reshape([-1, columns]) as tf.Tensor2D;
  const roundedRows = (dy: tf.Tensor) => rows(roundHalf(dy, format), O); // [N, O]
  return withLazyGradients({
    inputs: { x, ...(tensor ? { weight: tensor } : {}), ...(bias ? { bias } : {}) },
    save: [...(tensor ? [tensor] : []), ...(words ? [words] : [])],
    forward: () => {
      const rounded = roundWeight(weight, format);
      const b = bias && roundHalf(bias, format);
      const input = words ? unpackHalf(words, format, shape) : roundHalf(x, format); // [..., I]
      return roundHalf(withPrecision("float32", () => product(input, rounded, b)), format); // [..., O]
    },
    gradient: (dy, saved) => ({
      x: () => {
        const W = widen(roundWeight(tensor ? saved[0] : weight, format)); // [O, I]
        const dx = withPrecision("float32", () => tf.matMul(roundedRows(dy), W)); // [N, I]
        return roundHalf(dx, format).reshape(shape); // [..., I]
      },
      weight: () => {
        const input = rows(unpackHalf(saved[1], format, shape), I); // [N, I]
        const dW = withPrecision("float32", () => tf.matMul(roundedRows(dy), input, true));
        return roundHalf(dW, format); // [O, I]
      },
      bias: () => roundHalf(columnSum(roundedRows(dy)), format), // [O]
    }),
  });
}
