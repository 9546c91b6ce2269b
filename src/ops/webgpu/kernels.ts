/**
 * The kernels of the webgpu backend, registered for `src/ops/fused_kernels.ts`.
 *
 * @module
 */
import { onBackendReady } from "../../device/backend.ts";
import {
  type BackendKernels,
  type FusedKernels,
  registerKernels,
  type RoundingKernels,
  type UpdateKernels,
  type WordKernels,
} from "../kernels.ts";
import { isTraced, traceShaders } from "../trace_kernels.ts";
import { add, addTo, dropout, gelu, swiglu } from "./activations.ts";
import { attention, halfAttention } from "./attention/attention.ts";
import { geluHalf, geluHalfGradient, swigluHalf, swigluHalfGradients } from "./half_activations.ts";
import { patches, pixelShuffle, rope } from "./layouts.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import { adamW, gradientNorm } from "./optimizer.ts";
import { columnSum } from "./product/column_sum.ts";
import {
  halfProduct,
  halfProductWithGelu,
  halfProductWithSide,
  halfProductWithSums,
} from "./product/half_product.ts";
import { headLogProbs } from "./product/head.ts";
import { linear } from "./product/linear.ts";
import { gatherPackedRows, gatherPackedRowsAt } from "./product/packed.ts";
import { unpack } from "./product/unpacking.ts";
import { installGpuCopyKernels } from "./replaced/copy_kernels.ts";
import { installMatMulKernel } from "./replaced/mat_mul_kernel.ts";
import { packHalf, roundHalf, storeHalf, storeScaled } from "./round_half.ts";
import { gatherRows, replaceRows } from "./row_ops.ts";
import { areGpuKernelsOn } from "./runtime/enabled.ts";
import { bytesOf } from "./runtime/half_storage.ts";
import { describeDevice } from "./runtime/launch.ts";
import { sampleRows } from "./sampling.ts";
import { inBlocks } from "./updates/block_updates.ts";
import { inPlace } from "./updates/elementwise_updates.ts";

const words: WordKernels = { roundHalf, packHalf, unpack, bytesOf };

const rounding: RoundingKernels = {
  attention: halfAttention,
  columnSum,
  product: halfProduct,
  productWithGelu: halfProductWithGelu,
  productWithSums: halfProductWithSums,
  productWithSide: halfProductWithSide,
  store: storeHalf,
  storeScaled,
  gelu: geluHalf,
  headLogProbs,
};

const fused: FusedKernels = {
  ...{ linear, rmsNorm, layerNorm, swiglu, rope, attention },
  gelu: (x) => gelu(x),
  columnSum: (x) => columnSum(x),
  headLogProbs: (hidden, head, targets, temperature) =>
    headLogProbs(hidden, head, targets, temperature),
  ...{ geluHalfGradient, swigluHalf, swigluHalfGradients },
  ...{ gatherRows, replaceRows, patches, pixelShuffle, dropout },
  ...{ add, addTo, adamW, gradientNorm },
  ...{ gatherPackedRows, gatherPackedRowsAt, sampleRows },
  rounding,
};

const updates: UpdateKernels = { inPlace, inBlocks };

const ON: BackendKernels = { words, updates, fused };
const OFF: BackendKernels = { words, updates, fused: null };

registerKernels("webgpu", () => areGpuKernelsOn() ? ON : OFF);

let installed = false;

onBackendReady(({ device, adapterInfo }) => {
  if (device === null) return;
  describeDevice(device, adapterInfo?.isFallback === true);
  if (isTraced("wgsl")) traceShaders(device);
  if (!installed) {
    installMatMulKernel();
    installGpuCopyKernels();
  }
  installed = true;
});
