/**
 * What the fused kernels of every backend offer.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { AdamWTensors } from "./adamw.ts";
import type { AttentionLayout } from "./attention/attention_layout.ts";
import type { LinearExtras } from "./fused_linear.ts";
import type { Gradients } from "./tape/fused_op.ts";
import type { PackedWeight, Weight } from "./half/packed_weight.ts";
import type { HalfFormat } from "./half/precision.ts";
import type { Rotation } from "./attention/rotary_angles.ts";

/**
 * Shapes as in `src/ops`; every kernel but the optimizer's has its gradient. Null: the arguments are
 * the composite's business.
 */
export interface FusedKernels {
  linear(x: tf.Tensor, weight: Weight, bias?: tf.Tensor, extras?: LinearExtras): tf.Tensor;
  unpack(weight: PackedWeight): tf.Tensor;
  gatherPackedRows(table: PackedWeight, ids: Int32Array): tf.Tensor2D | null;
  columnSum(x: tf.Tensor): tf.Tensor;
  /** sum += x in place; `sum` has values of its own. */
  addTo(sum: tf.Tensor, x: tf.Tensor): void;
  rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor;
  layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, eps: number): tf.Tensor;
  gelu(x: tf.Tensor): tf.Tensor;
  swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor;
  /** The gradient of `gelu` by x, which is given as `packHalf` makes it; not rounded. */
  geluHalfGradient(x: tf.Tensor, dy: tf.Tensor, format: HalfFormat): tf.Tensor;
  /** R(R(silu(gate)) · up) of rounded gate and up, in a 16-bit pass. No gradient. */
  swigluHalf(gate: tf.Tensor, up: tf.Tensor, format: HalfFormat): tf.Tensor;
  /** Its gradients by `gate` and `up`, which are given as `packHalf` makes them; dy is rounded. */
  swigluHalfGradients(
    gate: tf.Tensor,
    up: tf.Tensor,
    dy: tf.Tensor,
    format: HalfFormat,
  ): Gradients;
  rope(x: tf.Tensor4D, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D;
  attention(
    q: tf.Tensor4D,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    layout: AttentionLayout | null,
    rotation?: Rotation,
  ): tf.Tensor3D | null;
  headLogProbs(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
  ): tf.Tensor1D;
  gatherRows(table: tf.Tensor, ids: Int32Array): tf.Tensor2D;
  replaceRows(x: tf.Tensor2D, values: tf.Tensor2D, ids: Int32Array): tf.Tensor2D;
  patches(images: tf.Tensor4D, patchSize: number): tf.Tensor3D;
  pixelShuffle(x: tf.Tensor3D, factor: number): tf.Tensor3D;
  dropout(x: tf.Tensor, rate: number, key: number): tf.Tensor;
  /** Returns the updates that it has not done, because a tensor's values are not its own. */
  adamW<Update extends AdamWTensors>(updates: readonly Update[]): Update[];
  gradientNorm(gradients: readonly tf.Tensor[]): tf.Scalar;
}
