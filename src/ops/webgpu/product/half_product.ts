/**
 * Products of 16-bit passes in WGSL (`../../half/half_product.ts`, `../../half/half_branch.ts`). One
 * dispatch multiplies and rounds.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import {
  type HalfMatrix,
  type HalfProduct,
  type HalfSide,
  matrixDims,
} from "../../half/half_matrix.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { recordGelu, recordInto } from "../activations.ts";
import { forgetOutput } from "../../tape/kernel_outputs.ts";
import { type GpuLaunch, launch, launchAll } from "../runtime/launch.ts";
import { keepSquares } from "../runtime/squares.ts";
import { sumRows } from "./column_sum.ts";
import { wantHalfCopy } from "../runtime/half_copies.ts";
import { storedFormat, takeWords } from "../runtime/half_storage.ts";
import { canStoreResult, groupsOfSums, isOneRun, multiply, type Product } from "./product.ts";
import type { PackedNumbers } from "./product_operands.ts";

/** The tensor of a matrix, and the numbers in it if it holds 16-bit words. */
function held(matrix: HalfMatrix): [tensor: tf.Tensor, packed: PackedNumbers | undefined] {
  if (matrix instanceof tf.Tensor) return [matrix, undefined];
  const { words, format, shape } = matrix;
  const isPacked = words.dtype === "int32" || storedFormat(words) !== undefined;
  return [words, isPacked ? { format, shape } : undefined];
}

/** Asks for a copy in 16 bits of B, if it is a weight that trains. */
function wantCopy({ kind, b }: HalfProduct, half: HalfFormat): void {
  if (kind === "nt" && b instanceof tf.Variable && b.trainable) wantHalfCopy(b, half);
}

/** Kind, dims and operands of a product for {@linkcode multiply}. */
function described({ kind, a, b }: Pick<HalfProduct, "kind" | "a" | "b">) {
  const [rows, columns] = matrixDims(a);
  const [M, K] = kind === "tn" ? [columns, rows] : [rows, columns];
  const N = matrixDims(b)[kind === "nt" ? 0 : 1];
  const [tensorA, aPacked] = held(a);
  const [tensorB, bPacked] = held(b);
  return { kind, M, N, K, a: tensorA, aPacked, b: tensorB, bPacked };
}

/** A new tensor for rounded values, in 16 bits if the product can store them so. */
function resultOf(
  l: GpuLaunch,
  half: HalfFormat,
  base: Pick<Product, "kind" | "M" | "N" | "K">,
  shape: readonly number[],
): tf.TensorInfo {
  return l.halfOutput(shape, canStoreResult(base) ? half : null);
}

/** What a product is computed with. */
interface RecordedWith {
  /** It is added to it, if it is computed in one run. */
  readonly sum?: tf.Tensor;
  /** The tensor that the sums of A's columns are written to. */
  readonly columnSums?: tf.TensorInfo;
  /** The tensor that GELU of the result is written to. */
  readonly activated?: tf.TensorInfo;
}

/** Records a product that is not added to a residual; into `sum`, if it is computed in one run. */
function record(
  l: GpuLaunch,
  half: HalfFormat,
  product: HalfProduct,
  { sum, columnSums, activated }: RecordedWith = {},
): tf.TensorInfo {
  const { bias, shape } = product;
  const base = described(product);
  const groups = groupsOfSums(l, base);
  const squares = groups > 0 ? l.output([groups]) : undefined;
  const work = { ...base, half, bias, roundsSum: true, columnSums, squares, activated };
  const into = isOneRun(base) ? sum : undefined;
  let c: tf.TensorInfo;
  if (into === undefined) multiply(l, { ...work, c: c = resultOf(l, half, base, shape) });
  else {
    // Words are read once more, and the sum is written in float32.
    const isStored = storedFormat(into) !== undefined && canStoreResult(base);
    const addend = isStored ? takeWords(l.backend, into) : undefined;
    c = l.target(shape, into);
    multiply(l, { ...work, c, addend, accumulate: !isStored });
  }
  if (squares !== undefined) {
    forgetOutput(squares.dataId);
    keepSquares(l.backend, c, squares);
  }
  return c;
}

/**
 * R(op(R(A)) op(R(B)) + R(b)), added to `sum` if the product is computed in one run, or with the
 * residual added to it.
 */
export function halfProduct(half: HalfFormat, product: HalfProduct, sum?: tf.Tensor): tf.Tensor {
  const { bias, residual, shape } = product;
  wantCopy(product, half);
  const base = described(product);
  return launch({
    name: "GpuHalfProduct",
    inputs: { a: base.a, b: base.b, ...(bias && { bias }), ...(residual && { residual }) },
    run: (l) => {
      if (residual === undefined) return [record(l, half, product, { sum })];
      const c = l.output(shape);
      if (isOneRun(base)) {
        const addend = { buffer: l.buffer(residual) };
        multiply(l, { ...base, half, bias, roundsSum: true, c, addend });
      } else {
        const own = record(l, half, product);
        recordInto(l, ADDITION(own, residual), [c]);
        l.backend.disposeData(own.dataId);
      }
      return [c];
    },
  });
}

/** {@linkcode halfProduct} and R(gelu()) of its result. */
export function halfProductWithGelu(half: HalfFormat, product: HalfProduct): tf.Tensor[] {
  const { bias, shape } = product;
  wantCopy(product, half);
  const base = described(product);
  return launchAll({
    name: "GpuHalfProductWithGelu",
    inputs: { a: base.a, b: base.b, ...(bias && { bias }) },
    run: (l) => {
      const activated = resultOf(l, half, base, shape);
      // On a software adapter a lane holds so many sums that a separate GELU is faster.
      const isOne = !l.isFallback && isOneRun(base);
      const c = record(l, half, product, isOne ? { activated } : {});
      if (!isOne) recordGelu(l, c, activated);
      return [c, activated];
    },
  });
}

/** {@linkcode halfProduct} of kind `tn`, and R(Σ R(A)) over the rows of A. */
export function halfProductWithSums(
  half: HalfFormat,
  product: HalfProduct,
  sum?: tf.Tensor,
): tf.Tensor[] {
  const { a, b, M, K } = described(product);
  return launchAll({
    name: "GpuHalfProductWithSums",
    inputs: { a, b },
    run: (l) => {
      if (groupsOfSums(l, described(product)) === 0) {
        return [record(l, half, product, { sum }), sumRows(l, a, K, M, half)];
      }
      const columnSums = l.output([M]);
      return [record(l, half, product, { sum, columnSums }), columnSums];
    },
  });
}

/** The sum of two tensors. */
const ADDITION = (x: tf.TensorInfo, y: tf.TensorInfo) => ({
  ...{ name: "GpuAdd", inputs: [x, y], body: "y = x0 + x1;", flops: 1 },
});

/** R(R(op(R(A)) op(R(B)) + R(b)) + s · R(R(A′) R(B′)ᵀ)): a layer with a LoRA branch. */
export function halfProductWithSide(
  half: HalfFormat,
  product: HalfProduct,
  { a, b, scaling: scale }: HalfSide,
): tf.Tensor {
  const { bias, shape } = product;
  wantCopy(product, half);
  const base = described(product);
  const side = described({ kind: "nt", a, b });
  return launch({
    name: "GpuHalfProductWithSide",
    inputs: { a: base.a, b: base.b, sideA: side.a, sideB: side.b, ...(bias && { bias }) },
    run: (l) => {
      const stores = canStoreResult(side) && canStoreResult(base);
      const c = l.halfOutput(shape, stores ? half : null);
      multiply(l, { ...base, c, bias, half, roundsSum: true });
      const rounds = { half, roundsSum: true, roundsResult: true };
      multiply(l, { ...side, c, ...rounds, scale, accumulate: true });
      return [c];
    },
  });
}
