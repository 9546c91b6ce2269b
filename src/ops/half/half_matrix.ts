/**
 * Matrices of a 16-bit pass, and products of them.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { PackedFormat, PackedWeight } from "./packed_weight.ts";

// M rows of the result, N its columns, K the inner dimension

/** A matrix in 16 bits, as `keepHalf` makes it from a tensor. */
export interface PackedMatrix {
  readonly words: tf.Tensor;
  readonly format: PackedFormat;
  readonly shape: readonly number[];
}

/** A matrix of a product: all dims of a tensor but the last are rows. */
export type HalfMatrix = tf.Tensor | PackedWeight | PackedMatrix;

/**
 * What is multiplied. `nt`: A [M, K], B [N, K]; `nn`: A [M, K], B [K, N]; `tn`: A [K, M], B [K, N].
 */
export interface HalfProduct {
  readonly kind: "nt" | "nn" | "tn";
  readonly a: HalfMatrix;
  readonly b: HalfMatrix;
  /** [N], added to every row before it is rounded. */
  readonly bias?: tf.Tensor;
  /** Shaped as the result and added to it after the rounding; then nothing is added to a sum. */
  readonly residual?: tf.Tensor;
  /** Of the result: M · N values. */
  readonly shape: readonly number[];
}

/** The LoRA branch of a layer: scaling · R(R(A) R(B)ᵀ), added to it and rounded. */
export interface HalfSide {
  /** [M, r]. */
  readonly a: HalfMatrix;
  /** [N, r]. */
  readonly b: HalfMatrix;
  readonly scaling: number;
}

/** Rows and columns. */
export function matrixDims({ shape }: HalfMatrix): [rows: number, columns: number] {
  const columns = shape[shape.length - 1];
  return [shape.slice(0, -1).reduce((product, dim) => product * dim, 1), columns];
}
