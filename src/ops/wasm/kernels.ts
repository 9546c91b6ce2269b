/**
 * The kernels of the wasm backend, registered for `src/ops/fused_kernels.ts`.
 *
 * @module
 */
import { fusedLinear } from "../fused_linear.ts";
import {
  type BackendKernels,
  type FusedKernels,
  registerKernels,
  type WordKernels,
} from "../kernels.ts";
import { addTo, dropout, gelu, swiglu } from "./activations.ts";
import { attention } from "./attention.ts";
import { geluHalfGradient, swigluHalf, swigluHalfGradients } from "./half_activations.ts";
import { patches, pixelShuffle, rope } from "./layouts.ts";
import { layerNorm, rmsNorm } from "./norms.ts";
import { adamW, adamWHost, gradientNorm } from "./optimizer.ts";
import { headLogProbs } from "./product/head.ts";
import { headEntropy } from "./product/head_entropy.ts";
import { columnSum, linearKernels } from "./product/linear.ts";
import { gatherPackedRows } from "./product/packed.ts";
import { packHalf, roundHalf, unpack } from "./round_half.ts";
import { gatherRows, replaceRows } from "./row_ops.ts";
import { kernelGemm, kernelModule } from "./runtime/install.ts";
import type { KernelModule } from "./runtime/kernel_module.ts";

/** They support all arguments and never return null. */
function fusedOn(module: KernelModule): FusedKernels {
  const ofLinear = linearKernels(module, kernelGemm);
  return {
    linear: (x, weight, bias, extras) => fusedLinear(ofLinear, x, weight, bias, extras),
    gatherPackedRows: (table, ids) => gatherPackedRows(module, table, ids),
    columnSum: (x) => columnSum(module, x),
    rmsNorm: (x, weight, eps) => rmsNorm(module, x, weight, eps),
    layerNorm: (x, weight, bias, eps) => layerNorm(module, x, weight, bias, eps),
    gelu: (x) => gelu(module, x),
    geluHalfGradient: (x, dy, format) => geluHalfGradient(module, x, dy, format),
    addTo: (sum, x) => addTo(module, sum, x),
    swiglu: (gate, up) => swiglu(module, gate, up),
    swigluHalf: (gate, up, format) => swigluHalf(module, gate, up, format),
    swigluHalfGradients: (gate, up, dy, format) =>
      swigluHalfGradients(module, gate, up, dy, format),
    rope: (x, cos, sin) => rope(module, x, cos, sin),
    attention: (q, k, v, layout, rotation) => attention(module, q, k, v, layout, rotation),
    headLogProbs: (hidden, head, targets, temperature) =>
      headLogProbs(module, hidden, head, targets, temperature),
    roundedHeadLogProbs: (hidden, head, targets, temperature, rounded) =>
      headLogProbs(module, hidden, head, targets, temperature, rounded),
    headEntropy: (hidden, head, temperature, format) =>
      headEntropy(module, hidden, head, temperature, format),
    gatherRows: (table, ids) => gatherRows(module, table, ids),
    replaceRows: (x, values, ids) => replaceRows(module, x, values, ids),
    patches: (images, patchSize) => patches(module, images, patchSize),
    pixelShuffle: (x, factor) => pixelShuffle(module, x, factor),
    dropout: (x, rate, key) => dropout(module, x, rate, key),
    adamW: (updates) => updates.filter((update) => !adamW(module, update)),
    adamWHost: (parameter, gradient, first, second, numbers) =>
      adamWHost(module, parameter, gradient, first, second, numbers),
    gradientNorm: (gradients) => gradientNorm(module, gradients),
  };
}

function wordsOn(module: KernelModule): WordKernels {
  return {
    roundHalf: (x, format) => roundHalf(module, x, format),
    packHalf: (x, format) => packHalf(module, x, format),
    unpack: (words, format, shape) => unpack(module, words, format, shape),
  };
}

let kernels: BackendKernels | null = null;

registerKernels("wasm", () => {
  const module = kernelModule();
  if (module === null) return null; // The backend has not been started by `initBackend`.
  return kernels ??= { words: wordsOn(module), fused: fusedOn(module) };
});
