/**
 * What ops call where the webgpu backend runs: the one door to our WGSL.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { FusedKernels } from "../kernel_interface.ts";
import type { PackedWeight } from "../packed_weight.ts";
import type { DrawnRows, RowSampling, SampledLogits } from "../sample_rows.ts";
import { onBackendReady } from "../../device/backend.ts";
import { attention } from "./attention.ts";
import { columnSum } from "./column_sum.ts";
import { installGpuCopyKernels } from "./copy_kernels.ts";
import { addTo, dropout, gelu, geluGradient, swiglu } from "./elementwise.ts";
import { areGpuKernelsOn } from "./enabled.ts";
import { headLogProbs } from "./head.ts";
import { describeDevice } from "./launch.ts";
import { patches, pixelShuffle, rope } from "./layouts.ts";
import { linear } from "./linear.ts";
import { installMatMulKernel } from "./mat_mul_kernel.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import { adamW, gradientNorm } from "./optimizer.ts";
import { gatherPackedRows, gatherPackedRowsAt, unpack } from "./packed.ts";
import { sampleRows } from "./sampling.ts";
import { gatherRows, replaceRows } from "./row_ops.ts";

/** The fused ops in WGSL; the head dims, table widths and adapters that they do not fit get null. */
export interface GpuKernels extends FusedKernels {
  /** `gatherPackedRows` at ids on the device. */
  gatherPackedRowsAt(table: PackedWeight, ids: tf.Tensor1D): tf.Tensor2D | null;
  sampleRows(given: SampledLogits, sampling: RowSampling): DrawnRows | null;
}

const KERNELS: GpuKernels = {
  ...{ linear, columnSum, rmsNorm, layerNorm, swiglu, rope, attention, headLogProbs },
  gelu: (x) => gelu(x),
  geluGradient,
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
