/**
 * Products of 16-bit passes in WGSL (`../half_product.ts`): one dispatch each, which rounds.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type HalfMatrix, type HalfProduct, matrixDims } from "../half_matrix.ts";
import type { HalfFormat } from "../precision.ts";
import { launch } from "./launch.ts";
import { isOneRun, multiply } from "./product.ts";
import type { PackedNumbers } from "./product_operands.ts";

/** What holds the numbers, and what it holds where it is words. */
function held(matrix: HalfMatrix): [tensor: tf.Tensor, packed: PackedNumbers | undefined] {
  if (matrix instanceof tf.Tensor) return [matrix, undefined];
  return [matrix.words, { format: matrix.format, shape: matrix.shape }];
}

/** R(op(R(A)) op(R(B)) + R(b)), added to `sum` where that takes no more than a store. */
export function halfProduct(
  half: HalfFormat,
  { kind, a, b, bias, shape }: HalfProduct,
  sum?: tf.Tensor,
): tf.Tensor {
  const [rows, columns] = matrixDims(a);
  const [M, K] = kind === "tn" ? [columns, rows] : [rows, columns];
  const N = matrixDims(b)[kind === "nt" ? 0 : 1];
  const [tensorA, aPacked] = held(a);
  const [tensorB, bPacked] = held(b);
  return launch({
    name: "GpuHalfProduct",
    inputs: { a: tensorA, b: tensorB, ...(bias && { bias }) },
    run: (l) => {
      const into = isOneRun({ K }) ? sum : undefined;
      const c = l.target(shape, into);
      multiply(l, {
        ...{ kind, M, N, K, a: tensorA, aPacked, b: tensorB, bPacked, c, bias },
        ...{ half, roundsSum: true, accumulate: into !== undefined },
      });
      return [c];
    },
  });
}
