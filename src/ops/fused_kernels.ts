/**
 * The fused kernels of whichever backend runs.
 * @module
 */
import type { FusedKernels } from "./kernels.ts";
import { wasmKernels } from "./wasm/kernels.ts";
import { gpuKernels } from "./webgpu/kernels.ts";

/** The kernels of tfjs's current backend; null where it has none and the composite runs. */
export function fusedKernels(): FusedKernels | null {
  return wasmKernels() ?? gpuKernels();
}
