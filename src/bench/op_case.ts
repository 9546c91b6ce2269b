/**
 * One op of the op benchmark.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";

/** An op, as a fused kernel and as its composite. */
export interface OpCase {
  readonly name: string;
  /** Sizes, for the table. */
  readonly shape: string;
  readonly fused: (inputs: tf.Tensor[]) => tf.Tensor;
  readonly composite: (inputs: tf.Tensor[]) => tf.Tensor;
  /** Makes the tensors that get gradients; the caller frees them. */
  readonly inputs: () => tf.Tensor[];
  /** Multiplications and additions of the forward pass; null if they do not determine its time. */
  readonly flops: number | null;
  /** Bytes that the forward pass reads and writes at least, if they determine its time. */
  readonly bytes?: number;
  /** Whether it has a gradient. */
  readonly differentiable: boolean;
  /** Frees the other tensors of the case. */
  readonly dispose?: () => void;
}
