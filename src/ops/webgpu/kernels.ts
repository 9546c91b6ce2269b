/**
 * What ops call where the webgpu backend runs: the one door to our WGSL.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AttentionLayout } from "../attention/attention_layout.ts";
import type { FusedKernels } from "../kernels.ts";
import type { HalfProduct, HalfSide } from "../half/half_matrix.ts";
import type { PackedWeight, Weight } from "../half/packed_weight.ts";
import type { HalfFormat } from "../half/precision.ts";
import type { DrawnRows, RowSampling, SampledLogits } from "../sample_rows.ts";
import { onBackendReady } from "../../device/backend.ts";
import { attention, halfAttention } from "./attention/attention.ts";
import { columnSum } from "./product/column_sum.ts";
import { installGpuCopyKernels } from "./replaced/copy_kernels.ts";
import { addTo, dropout, gelu, swiglu } from "./activations.ts";
import { areGpuKernelsOn } from "./runtime/enabled.ts";
import { geluHalfGradient, swigluHalf, swigluHalfGradients } from "./half_activations.ts";
import { halfProduct, halfProductWithSide } from "./product/half_product.ts";
import { headLogProbs } from "./product/head.ts";
import { describeDevice } from "./runtime/launch.ts";
import { patches, pixelShuffle, rope } from "./layouts.ts";
import { linear } from "./product/linear.ts";
import { installMatMulKernel } from "./replaced/mat_mul_kernel.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import { adamW, gradientNorm } from "./optimizer.ts";
import { gatherPackedRows, gatherPackedRowsAt, unpack } from "./product/packed.ts";
import { packHalfOnGpu } from "./round_half.ts";
import { sampleRows } from "./sampling.ts";
import { gatherRows, replaceRows } from "./row_ops.ts";

/** The fused ops in WGSL; the head dims, table widths and adapters that they do not fit get null. */
export interface GpuKernels extends FusedKernels {
  /** R(attention(R(q), R(k), R(v))); null where `attention` gives that. */
  halfAttention(
    half: HalfFormat,
    q: tf.Tensor4D,
    k: tf.Tensor4D,
    v: tf.Tensor4D,
    layout: AttentionLayout | null,
  ): tf.Tensor3D | null;
  /** `half`: R(Σ R(x)). */
  columnSum(x: tf.Tensor, half?: HalfFormat): tf.Tensor;
  /** {@linkcode HalfProduct}, rounded, added to `sum` in place where it can be. No gradient. */
  halfProduct(half: HalfFormat, product: HalfProduct, sum?: tf.Tensor): tf.Tensor;
  /** The same with a branch of LoRA's. No gradient. */
  halfProductWithSide(half: HalfFormat, product: HalfProduct, side: HalfSide): tf.Tensor;
  /** R(scale · R(x)) as `packHalf` gives it. No gradient. */
  packScaledHalf(x: tf.Tensor, half: HalfFormat, scale: number): tf.Tensor;
  /** `half`: in a 16-bit pass, of which it does all rounding. */
  headLogProbs(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
    half?: HalfFormat,
  ): tf.Tensor1D;
  /** `gatherPackedRows` at ids on the device. */
  gatherPackedRowsAt(table: PackedWeight, ids: tf.Tensor1D): tf.Tensor2D | null;
  sampleRows(given: SampledLogits, sampling: RowSampling): DrawnRows | null;
}

const KERNELS: GpuKernels = {
  ...{ linear, columnSum, rmsNorm, layerNorm, swiglu, rope, attention, headLogProbs },
  gelu: (x) => gelu(x),
  ...{ geluHalfGradient, swigluHalf, swigluHalfGradients, halfAttention },
  ...{ halfProduct, halfProductWithSide, packScaledHalf: packHalfOnGpu },
  ...{ gatherRows, replaceRows, patches, pixelShuffle, dropout },
  ...{ addTo, adamW, gradientNorm, unpack },
  ...{ gatherPackedRows, gatherPackedRowsAt, sampleRows },
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
