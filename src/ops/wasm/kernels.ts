/**
 * What ops call where the wasm backend runs: the one door to our wasm module.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { AdamWStep } from "../adamw.ts";
import type { FusedKernels } from "../kernels.ts";
import * as activations from "./activations.ts";
import { fusedLinear } from "../fused_linear.ts";
import type { HalfFormat } from "../half/precision.ts";
import { attention } from "./attention.ts";
import {
  geluHalfGradient,
  packHalf,
  roundHalf,
  swigluHalf,
  swigluHalfGradients,
  unpackHalf,
} from "./round_half.ts";
import { type HalfHead, headLogProbs } from "./product/head.ts";
import { headEntropy } from "./product/head_entropy.ts";
import { kernelGemm, kernelModule } from "./runtime/install.ts";
import { columnSum, linearKernels } from "./product/linear.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import type { PackedWeight, Weight } from "../half/packed_weight.ts";
import { adamW, adamWHost, gradientNorm } from "./optimizer.ts";
import { gatherPackedRows, unpack } from "./product/packed.ts";
import * as rows from "./row_ops.ts";

/** The fused ops on the wasm heap: they take every shape, and some more than other backends do. */
export interface WasmKernels extends FusedKernels {
  gatherPackedRows(table: PackedWeight, ids: Int32Array): tf.Tensor2D;
  attention(...parameters: Parameters<FusedKernels["attention"]>): tf.Tensor3D;
  /** `half`: in a 16-bit pass. */
  headLogProbs(
    hidden: tf.Tensor2D,
    head: Weight,
    targets: Int32Array,
    temperature: number,
    half?: HalfHead,
  ): tf.Tensor1D;
  /** Without a gradient; `format`: what logits are rounded to. */
  headEntropy(
    hidden: tf.Tensor2D,
    head: Weight,
    temperature: number,
    format: HalfFormat | null,
  ): tf.Tensor1D;
  /** Without a gradient; neither have the others of 16-bit passes. */
  roundHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor;
  packHalf(x: tf.Tensor, format: HalfFormat): tf.Tensor;
  unpackHalf(words: tf.Tensor, format: HalfFormat, shape: readonly number[]): tf.Tensor;
  /** `adamW` with moments outside the heap. */
  adamWHost(
    parameter: tf.Tensor,
    gradient: tf.Tensor,
    firstMoment: Float32Array,
    secondMoment: Float32Array,
    numbers: AdamWStep,
  ): boolean;
}

let kernels: WasmKernels | null = null;

/** Our kernels while the wasm backend is tfjs's current one, else null: the composite runs. */
export function wasmKernels(): WasmKernels | null {
  const module = kernelModule();
  if (module === null || tf.getBackend() !== "wasm") return null;
  if (kernels !== null) return kernels;
  const ofLinear = linearKernels(module, kernelGemm);
  kernels = {
    linear: (x, weight, bias, extras) => fusedLinear(ofLinear, x, weight, bias, extras),
    unpack: (weight) => unpack(module, weight),
    gatherPackedRows: (table, ids) => gatherPackedRows(module, table, ids),
    columnSum: (x) => columnSum(module, x),
    rmsNorm: (x, weight, eps) => rmsNorm(module, x, weight, eps),
    layerNorm: (x, weight, bias, eps) => layerNorm(module, x, weight, bias, eps),
    gelu: (x) => activations.gelu(module, x),
    geluHalfGradient: (x, dy, format) => geluHalfGradient(module, x, dy, format),
    addTo: (sum, x) => activations.addTo(module, sum, x),
    swiglu: (gate, up) => activations.swiglu(module, gate, up),
    swigluHalf: (gate, up, format) => swigluHalf(module, gate, up, format),
    swigluHalfGradients: (gate, up, dy, format) =>
      swigluHalfGradients(module, gate, up, dy, format),
    roundHalf: (x, format) => roundHalf(module, x, format),
    packHalf: (x, format) => packHalf(module, x, format),
    unpackHalf: (words, format, shape) => unpackHalf(module, words, format, shape),
    rope: (x, cos, sin) => rows.rope(module, x, cos, sin),
    attention: (q, k, v, layout, rotation) => attention(module, q, k, v, layout, rotation),
    headLogProbs: (hidden, head, targets, temperature, half) =>
      headLogProbs(module, hidden, head, targets, temperature, half),
    headEntropy: (hidden, head, temperature, format) =>
      headEntropy(module, hidden, head, temperature, format),
    gatherRows: (table, ids) => rows.gatherRows(module, table, ids),
    replaceRows: (x, values, ids) => rows.replaceRows(module, x, values, ids),
    patches: (images, patchSize) => rows.patches(module, images, patchSize),
    pixelShuffle: (x, factor) => rows.pixelShuffle(module, x, factor),
    dropout: (x, rate, key) => rows.dropout(module, x, rate, key),
    adamW: (updates) => updates.filter((update) => !adamW(module, update)),
    adamWHost: (parameter, gradient, first, second, numbers) =>
      adamWHost(module, parameter, gradient, first, second, numbers),
    gradientNorm: (gradients) => gradientNorm(module, gradients),
  };
  return kernels;
}
