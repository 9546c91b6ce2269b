/**
 * Puts our kernels on the wasm backend whenever it starts. Imported for its effect.
 * @module
 */
import { onBackendReady } from "../../device/backend.ts";
import { wasmHeap } from "../../device/wasm_heap.ts";
import { wasmGemm } from "./gemm.ts";
import { installMatMulKernels } from "./mat_mul_kernels.ts";
import { type KernelModule, loadKernelModule } from "./module.ts";

let loaded: KernelModule | null = null;

/** Our module, once the wasm backend has been started, else null. */
export function kernelModule(): KernelModule | null {
  return loaded;
}

onBackendReady((backend) => {
  const heap = wasmHeap();
  if (backend.name !== "wasm" || heap === null || loaded !== null) return;
  loaded = loadKernelModule(heap);
  installMatMulKernels(loaded, wasmGemm(loaded));
});
