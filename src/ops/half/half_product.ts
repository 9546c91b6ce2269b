/**
 * A product of a 16-bit pass (`precision.ts`): R(op(R(A)) op(R(B)) + R(b)), the sum in float32.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { fusedKernels } from "../fused_kernels.ts";
import { type HalfMatrix, type HalfProduct, matrixDims } from "./half_matrix.ts";
import { keptNumbers } from "./pack_half.ts";
import { PACKED_FORMATS, PackedWeight, type Weight } from "./packed_weight.ts";
import type { HalfFormat } from "./precision.ts";
import { roundHalf } from "./round_half.ts";
import { unpackWeight } from "./unpack_weight.ts";

// M rows of the result, N its columns

/** A weight with its values rounded; a packed weight that has the format already is returned as it is. */
export function roundWeight(weight: Weight, format: HalfFormat): Weight {
  if (!(weight instanceof PackedWeight)) return roundHalf(weight, format);
  return weight.format === PACKED_FORMATS[format]
    ? weight
    : roundHalf(unpackWeight(weight), format);
}

/** The matrix in float32 and rounded, or a packed weight that has the format. */
function rounded(matrix: HalfMatrix, format: HalfFormat): tf.Tensor2D | PackedWeight {
  const given = matrix instanceof tf.Tensor || matrix instanceof PackedWeight
    ? roundWeight(matrix, format)
    : keptNumbers(matrix.words, format, matrix.shape);
  return given instanceof PackedWeight ? given : given.reshape(matrixDims(given));
}

/** The plain composite of {@linkcode halfProduct}. */
function halfProductComposite(
  format: HalfFormat,
  { kind, a, b, bias, shape }: HalfProduct,
): tf.Tensor {
  const widen = (matrix: tf.Tensor2D | PackedWeight): tf.Tensor2D =>
    (matrix instanceof PackedWeight ? unpackWeight(matrix) : matrix) as tf.Tensor2D;
  return tf.tidy(() => {
    const A = widen(rounded(a, format)), B = rounded(b, format);
    const row = bias && roundHalf(bias, format);
    const kernels = kind === "nt" ? fusedKernels() : null;
    if (kernels !== null) return roundHalf(kernels.linear(A, B, row), format).reshape([...shape]);
    const product = tf.matMul(A, widen(B), kind === "tn", kind === "nt"); // [M, N]
    return roundHalf(row ? product.add(row) : product, format).reshape([...shape]);
  });
}

/**
 * R(op(R(A)) op(R(B)) + R(b)), written or, if possible, added to `sum` in place. No gradient.
 *
 * @param format to round to
 * @param product what is multiplied
 * @param sum shaped as the result; no other tensor may share its values
 */
export function halfProduct(
  format: HalfFormat,
  product: HalfProduct,
  sum?: tf.Tensor,
): tf.Tensor {
  return fusedKernels()?.rounding?.product(format, product, sum) ??
    halfProductComposite(format, product);
}
