/**
 * A fully connected layer of a 16-bit pass (`precision.ts`): R(R(x) R(W)ᵀ + R(b)), the sum in
 * float32. R(x) is kept in 16 bits, once for all layers that read x; W is kept as it is and rounded
 * again in the backward pass.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type Gradients, pairedGradients, wantsGradient } from "../tape/fused_op.ts";
import { fusedKernels } from "../fused_kernels.ts";
import type { HalfMatrix, HalfProduct } from "./half_matrix.ts";
import { halfProduct } from "./half_product.ts";
import { withLazyGradients } from "../tape/lazy_gradients.ts";
import { keptMatrix, sharedKeptHalf } from "./pack_half.ts";
import { PackedWeight, type Weight } from "./packed_weight.ts";
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

/** Options of {@linkcode halfLinear}. */
export interface HalfLinearExtras {
  /** [O], if there is one. */
  readonly bias?: tf.Tensor;
  /** Added to the layer, [..., O]; on a backend whose products round. */
  readonly residual?: tf.Tensor;
  /**
   * Given R(gelu()) of the layer, on a backend whose products round; the tensor is its to free. For the
   * tape, GELU is an op of its own, so that the gradient of the layer is computed once.
   */
  readonly takeGelu?: (activated: tf.Tensor) => void;
}

/** The input of a layer and what it keeps. */
export interface KeptInput {
  /** x, or what is kept of it in 16 bits. */
  readonly input: HalfMatrix;
  /** The weight, if it is float32, and x in 16 bits, if it is kept. */
  readonly save: readonly tf.Tensor[];
  /** Of x. */
  readonly shape: readonly number[];
}

/** The input of a layer, in 16 bits if the gradient of the weight will be computed. */
export function keptInput(format: HalfFormat, x: tf.Tensor, weight: Weight): KeptInput {
  const { shape } = x;
  if (weight instanceof PackedWeight) return { input: x, save: [], shape };
  if (!wantsGradient(weight) || !isRecording()) return { input: x, save: [weight], shape };
  const words = sharedKeptHalf(x, format);
  return { input: keptMatrix(words, format, shape), save: [weight, words], shape };
}

/** A layer whose gradients are computed. */
export interface HalfLayer {
  readonly weight: Weight;
  readonly bias?: tf.Tensor;
  /** Of x. */
  readonly shape: readonly number[];
}

/**
 * R(R(dy) R(W)), R(R(dy)ᵀ R(x)) and R(Σ R(dy)); the first two are added to the sums so far if a kernel
 * can.
 *
 * @param layer its weight, its bias, if there is one, and the shape of x
 * @param saved what {@linkcode keptInput} named
 */
export function halfLinearGradients(
  format: HalfFormat,
  dy: tf.Tensor,
  { weight, bias, shape }: HalfLayer,
  saved: readonly tf.Tensor[],
): Gradients {
  const ofWeight = (): HalfProduct => {
    const b = keptMatrix(saved[1], format, shape);
    return { kind: "tn", a: dy, b, shape: weight.shape };
  };
  const trainsBoth = bias !== undefined && wantsGradient(bias) &&
    !(weight instanceof PackedWeight) && wantsGradient(weight);
  const [weights, biases] = pairedGradients((first, second, sums) => {
    const kernels = fusedKernels()?.rounding;
    if (first && second && kernels !== undefined) {
      return kernels.productWithSums(format, ofWeight(), sums.weight);
    }
    return [
      ...first ? [halfProduct(format, ofWeight(), sums.weight)] : [], // [O, I]
      ...second ? [halfColumnSum(dy, format)] : [], // [O]
    ];
  }, trainsBoth);
  const b = weight instanceof PackedWeight ? weight : saved[0];
  return {
    x: (sums) => halfProduct(format, { kind: "nn", a: dy, b, shape }, sums?.x), // [..., I]
    weight: weights,
    bias: biases,
  };
}

/**
 * R(R(x) R(W)ᵀ + R(b)), with the gradients that {@linkcode halfLinearGradients} gives.
 *
 * @param format to round to
 * @param x [..., I]
 * @param weight [O, I]
 * @returns [..., O]
 */
export function halfLinear(
  format: HalfFormat,
  x: tf.Tensor,
  weight: Weight,
  { bias, residual, takeGelu }: HalfLinearExtras = {},
): tf.Tensor {
  const { input, save, shape } = keptInput(format, x, weight);
  const tensor: tf.NamedTensorMap = weight instanceof PackedWeight ? {} : { weight };
  const kernels = takeGelu && fusedKernels()?.rounding;
  return withLazyGradients({
    inputs: { x, ...tensor, ...(bias && { bias }), ...(residual && { residual }) },
    save,
    forward: () => {
      const out = [...shape.slice(0, -1), weight.shape[0]]; // [..., O]
      const product = { kind: "nt", a: input, b: weight, bias, residual, shape: out } as const;
      if (kernels === undefined) return halfProduct(format, product);
      const [z, y] = kernels.productWithGelu(format, product);
      takeGelu!(tf.keep(y));
      return z;
    },
    gradient: (dy, saved) => ({
      ...halfLinearGradients(format, dy, { weight, bias, shape }, saved),
      residual: () => dy.clone(),
    }),
  });
}
