/**
 * A fully connected layer of a 16-bit pass (`precision.ts`): R(R(x) R(W)ᵀ + R(b)), the sum in
 * float32. R(x) is kept in 16 bits, once for all layers that read x; W is kept as it is and rounded
 * again in the backward pass.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type Gradients, wantsGradient } from "../tape/fused_op.ts";
import { fusedKernels } from "../fused_kernels.ts";
import type { HalfMatrix, PackedMatrix } from "./half_matrix.ts";
import { halfProduct } from "./half_product.ts";
import { withLazyGradients } from "../tape/lazy_gradients.ts";
import { sharedPackedHalf } from "./pack_half.ts";
import { PACKED_FORMATS, PackedWeight, type Weight } from "./packed_weight.ts";
import type { HalfFormat } from "./precision.ts";
import { isRecording } from "../tape/recording.ts";
import { roundHalf } from "./round_half.ts";

// N rows, I input features, O output features

/** R(Σ R(dy)) over rows: [..., O] → [O]. */
function halfColumnSum(dy: tf.Tensor, format: HalfFormat): tf.Tensor {
  const kernels = fusedKernels();
  if (kernels?.rounding !== undefined) return kernels.rounding.columnSum(dy, format);
  const O = dy.shape[dy.rank - 1];
  const rows = roundHalf(dy, format).reshape([-1, O]); // [N, O]
  return roundHalf(kernels?.columnSum(rows) ?? rows.sum(0), format);
}

/** The input of a layer and what it keeps. */
export interface KeptInput {
  /** x, or its 16-bit words if they are kept. */
  readonly input: HalfMatrix;
  /** The weight, if it is float32, and the words, if they are kept. */
  readonly save: readonly tf.Tensor[];
  /** Of x. */
  readonly shape: readonly number[];
}

/** The input of a layer, in 16 bits if the gradient of the weight will be computed. */
export function keptInput(format: HalfFormat, x: tf.Tensor, weight: Weight): KeptInput {
  const { shape } = x;
  if (weight instanceof PackedWeight) return { input: x, save: [], shape };
  if (!wantsGradient(weight) || !isRecording()) return { input: x, save: [weight], shape };
  const words = sharedPackedHalf(x, format);
  return { input: packed(words, format, shape), save: [weight, words], shape };
}

function packed(words: tf.Tensor, format: HalfFormat, shape: readonly number[]): PackedMatrix {
  return { words, format: PACKED_FORMATS[format], shape };
}

/**
 * R(R(dy) R(W)), R(R(dy)ᵀ R(x)) and R(Σ R(dy)); the first two are added to the sums so far if a kernel
 * can.
 *
 * @param shape of x
 * @param saved what {@linkcode keptInput} named
 */
export function halfLinearGradients(
  format: HalfFormat,
  dy: tf.Tensor,
  weight: Weight,
  shape: readonly number[],
  saved: readonly tf.Tensor[],
): Gradients {
  const b = weight instanceof PackedWeight ? weight : saved[0];
  return {
    x: (sums) => halfProduct(format, { kind: "nn", a: dy, b, shape }, sums?.x), // [..., I]
    weight: (sums) => {
      const b = packed(saved[1], format, shape);
      const product = { kind: "tn", a: dy, b, shape: weight.shape } as const;
      return halfProduct(format, product, sums?.weight); // [O, I]
    },
    bias: () => halfColumnSum(dy, format), // [O]
  };
}

/**
 * R(R(x) R(W)ᵀ + R(b)), with the gradients that {@linkcode halfLinearGradients} gives.
 *
 * @param format to round to
 * @param x [..., I]
 * @param weight [O, I]
 * @param bias [O], if there is one
 * @returns [..., O]
 */
export function halfLinear(
  format: HalfFormat,
  x: tf.Tensor,
  weight: Weight,
  bias?: tf.Tensor,
): tf.Tensor {
  const { input, save, shape } = keptInput(format, x, weight);
  const tensor: tf.NamedTensorMap = weight instanceof PackedWeight ? {} : { weight };
  return withLazyGradients({
    inputs: { x, ...tensor, ...(bias && { bias }) },
    save,
    forward: () => {
      const out = [...shape.slice(0, -1), weight.shape[0]]; // [..., O]
      return halfProduct(format, { kind: "nt", a: input, b: weight, bias, shape: out });
    },
    gradient: (dy, saved) => halfLinearGradients(format, dy, weight, shape, saved),
  });
}
