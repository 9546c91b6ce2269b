/**
 * What ops call where the webgpu backend runs: the one door to our WGSL.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AdamWStep } from "../adamw.ts";
import type { AttentionLayout } from "../attention_layout.ts";
import type { LinearExtras } from "../fused_linear.ts";
import type { PackedWeight, Weight } from "../packed_weight.ts";
import { onBackendReady } from "../../device/backend.ts";
import { attention } from "./attention.ts";
import { columnSum } from "./column_sum.ts";
import { installGpuCopyKernels } from "./copy_kernels.ts";
import { dropout, gelu, swiglu } from "./elementwise.ts";
import { areGpuKernelsOn } from "./enabled.ts";
import { headLogProbs } from "./head.ts";
import { describeDevice } from "./launch.ts";
import { patches, pixelShuffle, rope } from "./layouts.ts";
import { linear } from "./linear.ts";
import { installMatMulKernel } from "./mat_mul_kernel.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import { adamW, gradientNorm } from "./optimizer.ts";
import { gatherPackedRows, gatherPackedRowsAt, unpack } from "./packed.ts";
import { argmaxRows, gatherRows, replaceRows, scatterAddRows } from "./row_ops.ts";

/** The fused ops. Shapes as in `src/ops`; every one but the optimizer's has its gradient. */
export interface GpuKernels {
  linear(x: tf.Tensor, weight: Weight, bias?: tf.Tensor, extras?: LinearExtras): tf.Tensor;
  unpack(weight: PackedWeight): tf.Tensor;
  /** Null where a row is no multiple of four numbers. */
  gatherPackedRows(table: PackedWeight, ids: Int32Array): tf.Tensor2D | null;
  /** The same at ids on the device. */
  gatherPackedRowsAt(table: PackedWeight, ids: tf.Tensor1D): tf.Tensor2D | null;
  columnSum(x: tf.Tensor): tf.Tensor;
  rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number): tf.Tensor;
  layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, eps: number): tf.Tensor;
  gelu(x: tf.Tensor): tf.Tensor;
  swiglu(gate: tf.Tensor, up: tf.Tensor): tf.Tensor;
  rope(x: tf.Tensor4D, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D;
  /** Null where the head dim has no kernel. */
  attention(
    q: tf.Tensor4D,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    layout: AttentionLayout | null,
  ): tf.Tensor3D | null;
  headLogProbs(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
  ): tf.Tensor1D;
  gatherRows(table: tf.Tensor, ids: Int32Array): tf.Tensor2D;
  scatterAddRows(values: tf.Tensor, ids: Int32Array, rows: number): tf.Tensor2D;
  replaceRows(x: tf.Tensor2D, values: tf.Tensor2D, ids: Int32Array): tf.Tensor2D;
  patches(images: tf.Tensor4D, patchSize: number): tf.Tensor3D;
  pixelShuffle(x: tf.Tensor3D, factor: number): tf.Tensor3D;
  dropout(x: tf.Tensor, rate: number, key: number): tf.Tensor;
  argmaxRows(x: tf.Tensor): tf.Tensor1D;
  /** False, with nothing done, where a tensor's values are not its own. */
  adamW(
    parameter: tf.Tensor,
    gradient: tf.Tensor,
    firstMoment: tf.Tensor,
    secondMoment: tf.Tensor,
    numbers: AdamWStep,
  ): boolean;
  gradientNorm(gradients: readonly tf.Tensor[]): tf.Scalar;
}

const KERNELS: GpuKernels = {
  ...{ linear, columnSum, rmsNorm, layerNorm, swiglu, rope, attention, headLogProbs },
  gelu: (x) => gelu(x),
  ...{ gatherRows, scatterAddRows, replaceRows, patches, pixelShuffle, dropout, argmaxRows },
  ...{ adamW, gradientNorm, unpack },
  ...{ gatherPackedRows, gatherPackedRowsAt },
};

/** Our kernels while the webgpu backend is tfjs's current one, else null. */
export function gpuKernels(): GpuKernels | null {
  return areGpuKernelsOn() && tf.getBackend() === "webgpu" ? KERNELS : null;
}

let installed = false;

onBackendReady(({ device, adapterInfo }) => {
  if (device === null) return;
  describeDevice(device, adapterInfo?.isFallback === true);
  if (!installed) {
    installMatMulKernel();
    installGpuCopyKernels();
  }
  installed = true;
});
