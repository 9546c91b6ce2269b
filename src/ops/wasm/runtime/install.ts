/**
 * Loads our kernels whenever the wasm backend starts.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { findBlas } from "../../../device/products/blas.ts";
import { onBackendReady } from "../../../device/backend.ts";
import { type WasmBackend, wasmHeap, wasmThreads } from "../../../device/wasm_heap.ts";
import { forgetOutput, recordOutput } from "../../tape/kernel_outputs.ts";
import { replaceKernel } from "../../tape/replace_kernel.ts";
import { installWasmCopyKernels } from "../replaced/copy_kernels.ts";
import { type Gemm, type GemmFunction, wasmGemm } from "../product/gemm.ts";
import { installIdentityKernel } from "../replaced/identity_kernel.ts";
import { installMatMulKernels } from "../product/mat_mul_kernels.ts";
import type { KernelModule } from "./kernel_module.ts";
import { loadKernelModule } from "./module.ts";
import { installSegmentSumKernel } from "../replaced/segment_sum_kernel.ts";

/** No kernel of this backend, tfjs's own included, leaks outputs if memory runs out. */
function freeOutputsOnFailure(backend: WasmBackend): void {
  const { makeOutput, incRef, disposeData } = backend;
  backend.makeOutput = (...parameters) => {
    const output = makeOutput.apply(backend, parameters);
    recordOutput(output.dataId);
    return output;
  };
  backend.incRef = (dataId) => {
    incRef.call(backend, dataId);
    recordOutput(dataId);
  };
  backend.disposeData = (dataId, force) => {
    forgetOutput(dataId);
    return disposeData.call(backend, dataId, force);
  };
  for (const kernel of tf.getKernelsForBackend("wasm")) replaceKernel(kernel);
}

let loaded: KernelModule | null = null;
let gemm: GemmFunction | null = null;

/** Our module; null before the wasm backend has been started. */
export function kernelModule(): KernelModule | null {
  return loaded;
}

/**
 * The product that runs now.
 *
 * @throws {Error} if the wasm backend has not been started
 */
export function kernelGemm(product: Gemm): void {
  if (gemm === null) throw new Error("Cannot multiply: start the wasm backend first");
  gemm(product);
}

onBackendReady((backend) => {
  const heap = wasmHeap();
  if (backend.name !== "wasm" || heap === null || loaded !== null) return;
  const blas = findBlas();
  loaded = loadKernelModule(heap, {
    threads: wasmThreads(),
    ..."library" in blas && { blas },
  });
  gemm = wasmGemm(loaded);
  freeOutputsOnFailure(heap.backend);
  installMatMulKernels(loaded, kernelGemm);
  installIdentityKernel();
  installWasmCopyKernels(loaded);
  installSegmentSumKernel(loaded);
});
