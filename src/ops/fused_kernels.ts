/**
 * The kernels of tfjs's current backend. Importing this file registers the kernels of all backends;
 * that is why it stands apart from `kernels.ts`, which those backends import.
 *
 * @module
 */
import {
  type FusedKernels,
  registeredKernels,
  type UpdateKernels,
  type WordKernels,
} from "./kernels.ts";
import "./wasm/kernels.ts";
import "./webgpu/kernels.ts";

/** The fused kernels of tfjs's current backend; null if it has none: the op runs its composite. */
export function fusedKernels(): FusedKernels | null {
  return registeredKernels()?.fused ?? null;
}

/** The 16-bit conversions of tfjs's current backend; null if its tensors are on the host anyway. */
export function wordKernels(): WordKernels | null {
  return registeredKernels()?.words ?? null;
}

/** The optimizers' updates of tfjs's current backend; null if its tensors are on the host. */
export function updateKernels(): UpdateKernels | null {
  return registeredKernels()?.updates ?? null;
}
