/**
 * The fused kernels of whichever backend runs.
 * @module
 */
import { type WasmKernels, wasmKernels } from "./wasm/kernels.ts";
import { type GpuKernels, gpuKernels } from "./webgpu/kernels.ts";

/**
 * The kernels of tfjs's current backend; null where it has none and the composite runs. A kernel
 * that gives null for its arguments leaves them to the composite too.
 */
export function fusedKernels(): WasmKernels | GpuKernels | null {
  return wasmKernels() ?? gpuKernels();
}
