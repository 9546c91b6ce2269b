/**
 * Chooses and starts the tfjs backend that everything runs on.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type Gpu, type GpuAdapterInfo, requestGpu } from "./adapter.ts";
import { findBlas } from "./products/blas.ts";
import { clearGpuErrors } from "./gpu_errors.ts";
import { type GuardableBackend, guardBackend } from "./guarded_backend.ts";
import { countGpuPool } from "./memory.ts";
import { startWasmBackend, wasmThreads } from "./wasm_heap.ts";

/** The backends that a user can choose. */
export type BackendChoice = "auto" | "webgpu" | "wasm" | "cpu";

/** The names of {@link BackendChoice}. */
export const BACKEND_CHOICES: readonly BackendChoice[] = ["auto", "webgpu", "wasm", "cpu"];

/** The backend that runs, and why it was chosen. */
export interface ActiveBackend {
  readonly name: "webgpu" | "wasm" | "cpu";
  /** A sentence for the user. */
  readonly reason: string;
  /** The adapter if the name is `webgpu`, else null. */
  readonly adapterInfo: GpuAdapterInfo | null;
  /** The device if the name is `webgpu`, else null. */
  readonly device: GPUDevice | null;
  /** Frees the device and the tensors on it. The wasm heap stays until the process ends. */
  dispose(): void;
}

/** Options of {@link initBackend}. */
export interface InitBackendOptions {
  /** Default `auto`. */
  readonly backend?: BackendChoice;
}

let active: ActiveBackend | null = null;
/** The active backend, if its device is lost. */
let lostBackend: ActiveBackend | null = null;
/** The backend that `auto` chose last. */
let chosenByAuto: ActiveBackend | null = null;
const readyHooks: ((backend: ActiveBackend) => void)[] = [];

/** The backend that {@link initBackend} started, or null. */
export function activeBackend(): ActiveBackend | null {
  return active;
}

/**
 * Calls `hook` with the backend, at once if one is running, and again whenever one is started.
 * `src/ops` installs its kernels in this way, without being imported from here.
 */
export function onBackendReady(hook: (backend: ActiveBackend) => void): void {
  readyHooks.push(hook);
  if (active !== null) hook(active);
}

async function startWebgpu(gpu: Gpu, reason: string): Promise<ActiveBackend> {
  const { WebGPUBackend } = await import("@tensorflow/tfjs-backend-webgpu");
  // tfjs registers a factory that requests an adapter of its own; ours replaces it.
  if (tf.findBackendFactory("webgpu") !== null) tf.removeBackend("webgpu");
  tf.registerBackend("webgpu", () => {
    const backend = new WebGPUBackend(gpu.device, gpu.rawInfo);
    countGpuPool(guardBackend(backend as unknown as GuardableBackend));
    return backend;
  }, 3);
  clearGpuErrors(); // Those of a device before.
  if (!await tf.setBackend("webgpu")) {
    throw new Error(`Cannot start tfjs on the adapter "${gpu.info.description}"`);
  }
  await tf.ready();
  const backend: ActiveBackend = {
    name: "webgpu",
    reason,
    adapterInfo: gpu.info,
    device: gpu.device,
    dispose(): void {
      if (active === backend) {
        active = null;
        countGpuPool(null);
      }
      tf.removeBackend("webgpu");
      gpu.destroy();
    },
  };
  gpu.device.lost.then(() => {
    // The next call of `initBackend` after a loss creates a new device.
    if (active === backend) lostBackend = backend;
  });
  return backend;
}

/** tfjs's cpu backend prints an advertisement once if it is used outside a browser. */
function quietCpuBackend(): void {
  const cpu: object | null = tf.findBackend("cpu");
  if (cpu !== null && "firstUse" in cpu) cpu.firstUse = false;
}

async function startCpuSide(name: "wasm" | "cpu", reason: string): Promise<ActiveBackend> {
  let threads = "";
  if (name === "wasm") {
    await startWasmBackend();
    const blas = findBlas();
    const count = wasmThreads();
    const kernels = "library" in blas ? `products by ${blas.library}` : "kernels";
    if ("library" in blas || count > 1) {
      threads = `; ${kernels} on ${count} thread${count > 1 ? "s" : ""}`;
    }
  } else await tf.setBackend("cpu");
  await tf.ready();
  const backend: ActiveBackend = {
    name,
    reason: reason + threads,
    adapterInfo: null,
    device: null,
    dispose(): void {
      if (active === backend) active = null;
    },
  };
  return backend;
}

async function start(choice: BackendChoice): Promise<ActiveBackend> {
  if (choice === "wasm" || choice === "cpu") {
    return await startCpuSide(choice, `${choice}: asked for`);
  }
  const gpu = await requestGpu();
  if (choice === "webgpu") {
    if ("reason" in gpu) {
      throw new Error(
        `Cannot start the webgpu backend: ${gpu.reason}. Install a GPU driver (on Debian ` +
          "`apt install mesa-vulkan-drivers` gives a software adapter), or use --backend wasm",
      );
    }
    const kind = gpu.info.software ? "a software adapter" : "a hardware adapter";
    return await startWebgpu(gpu, `webgpu: asked for; ${kind}, ${gpu.info.description}`);
  }
  if ("reason" in gpu) return await startCpuSide("wasm", `wasm: ${gpu.reason}`);
  if (gpu.info.software) {
    const { description } = gpu.info;
    gpu.destroy();
    return await startCpuSide(
      "wasm",
      `wasm: the only WebGPU adapter is software (${description}), and wasm is faster on a CPU`,
    );
  }
  return await startWebgpu(gpu, `webgpu: hardware adapter ${gpu.info.description}`);
}

/** Whether the running backend is the one that a choice would start. */
function fits(backend: ActiveBackend, choice: BackendChoice): boolean {
  if (backend === lostBackend) return false;
  if (choice !== "auto") return backend.name === choice;
  return backend === chosenByAuto || backend.adapterInfo?.software === false;
}

/**
 * Starts a backend and makes it tfjs's current one. `auto` takes a hardware adapter, else wasm.
 * A running backend is kept if it fits the choice; for `auto` that is one that `auto` chose before, or
 * a hardware adapter. Otherwise it is disposed first.
 *
 * @throws {Error} if the choice is `webgpu` and there is no adapter
 */
export async function initBackend(options: InitBackendOptions = {}): Promise<ActiveBackend> {
  const choice = options.backend ?? "auto";
  if (!BACKEND_CHOICES.includes(choice)) {
    throw new TypeError(
      `Cannot start backend "${choice}": expected one of ${BACKEND_CHOICES.join(", ")}.`,
    );
  }
  if (active !== null && fits(active, choice)) {
    await tf.setBackend(active.name);
    return active;
  }
  active?.dispose();
  quietCpuBackend();
  const backend = await start(choice);
  active = backend;
  if (choice === "auto") chosenByAuto = backend;
  for (const hook of readyHooks) hook(backend);
  return backend;
}
