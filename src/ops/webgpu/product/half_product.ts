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
import { launch } from "../runtime/launch.ts";
import { isOneRun, multiply } from "./product.ts";
import type { PackedNumbers } from "./product_operands.ts";

/** The tensor of a matrix, and the numbers in it if it holds 16-bit words. */
function held(matrix: HalfMatrix): [tensor: tf.Tensor, packed: PackedNumbers | undefined] {
  if (matrix instanceof tf.Tensor) return [matrix, undefined];
  return [matrix.words, { format: matrix.format, shape: matrix.shape }];
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

/** R(op(R(A)) op(R(B)) + R(b)), added to `sum` if the product is computed in one run. */
export function halfProduct(half: HalfFormat, product: HalfProduct, sum?: tf.Tensor): tf.Tensor {
  const { bias, shape } = product;
  const base = described(product);
  return launch({
    name: "GpuHalfProduct",
    inputs: { a: base.a, b: base.b, ...(bias && { bias }) },
    run: (l) => {
      const into = isOneRun(base) ? sum : undefined;
      const c = l.target(shape, into);
      multiply(l, { ...base, c, bias, half, roundsSum: true, accumulate: into !== undefined });
      return [c];
    },
  });
}

/** R(R(op(R(A)) op(R(B)) + R(b)) + s · R(R(A′) R(B′)ᵀ)): a layer with a LoRA branch. */
export function halfProductWithSide(
  half: HalfFormat,
  product: HalfProduct,
  { a, b, scaling: scale }: HalfSide,
): tf.Tensor {
  const { bias, shape } = product;
  const base = described(product);
  const side = described({ kind: "nt", a, b });
  return launch({
    name: "GpuHalfProductWithSide",
    inputs: { a: base.a, b: base.b, sideA: side.a, sideB: side.b, ...(bias && { bias }) },
    run: (l) => {
      const c = l.output(shape);
      multiply(l, { ...base, c, bias, half, roundsSum: true });
      const rounds = { half, roundsSum: true, roundsResult: true };
      multiply(l, { ...side, c, ...rounds, scale, accumulate: true });
      return [c];
    },
  });
}
