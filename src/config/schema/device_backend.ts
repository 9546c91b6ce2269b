/**
 * What `training.device` means here.
 *
 * @module
 */

/** The names that `--backend` takes. */
export const BACKEND_CHOICES = ["auto", "webgpu", "wasm", "cpu"] as const;

/** A backend, or the choice of the fastest one. */
export type BackendChoice = typeof BACKEND_CHOICES[number];

/**
 * The backend that a config's `training.device` asks for. `cuda` and `mps` mean the GPU,
 * and the fastest CPU path if there is none; `cpu` means the fastest CPU path.
 */
export function backendOfDevice(device: string): BackendChoice {
  if (device === "webgpu" || device === "wasm") return device;
  return device === "cpu" ? "wasm" : "auto";
}
