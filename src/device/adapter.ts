/**
 * The only place that requests a GPU adapter.
 * @module
 */
import { watchDevice } from "./gpu_errors.ts";

/** What is known about the adapter behind a device. */
export interface GpuAdapterInfo {
  /** The driver's own name, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Whether the adapter is software (lavapipe, SwiftShader, WARP). */
  readonly software: boolean;
  /** WebGPU's own flag for a software adapter; it decides which kernels run. */
  readonly isFallback: boolean;
  /** The features below that the adapter has; the device was created with them. */
  readonly features: readonly string[];
  /** The device's limits, which are the adapter's. */
  readonly limits: Readonly<Record<string, number>>;
}

/** A device of ours. Its creator calls {@link Gpu.destroy}. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly info: GpuAdapterInfo;
  readonly rawInfo: GPUAdapterInfo;
  destroy(): void;
}

/** Why there is no GPU, as a text for the user. */
export interface NoGpu {
  readonly reason: string;
}

/** Features that some kernel of ours uses. */
export const WANTED_FEATURES = ["shader-f16"] as const;

/** Limits that kernels or tfjs use and that should be as large as the adapter allows. */
export const WANTED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxUniformBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxStorageTexturesPerShaderStage",
  "maxBindGroups",
  "maxBindingsPerBindGroup",
  "maxTextureDimension1D",
  "maxTextureDimension2D",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

/**
 * Sets XDG_RUNTIME_DIR if it is missing, so that the Vulkan/EGL loaders do not print
 * "XDG_RUNTIME_DIR is invalid" on headless machines. Quietly does nothing without the permission.
 */
function quietDriverLoaders(): void {
  if (typeof Deno === "undefined" || Deno.build.os !== "linux") return;
  try {
    if (!Deno.env.get("XDG_RUNTIME_DIR")) {
      Deno.env.set("XDG_RUNTIME_DIR", Deno.env.get("TMPDIR") ?? "/tmp");
    }
  } catch {
    // No env permission: the warning is harmless.
  }
}

/** Whether an adapter is software, by its flag or by the name of its driver. */
export function isSoftwareAdapter(
  info: { isFallbackAdapter?: boolean; description: string; architecture?: string },
): boolean {
  return info.isFallbackAdapter === true ||
    /llvmpipe|lavapipe|softpipe|swiftshader|microsoft basic render/i.test(
      `${info.description} ${info.architecture ?? ""}`,
    );
}

function environmentReason(): string {
  let wanted: string | undefined;
  try {
    wanted = Deno.env.get("DENO_WEBGPU_BACKEND");
  } catch {
    // No env permission.
  }
  // What the command line chooses on Linux limits nothing that could be used.
  if (wanted === "vulkan" && Deno.build.os === "linux") {
    return "no WebGPU adapter: no Vulkan driver is installed";
  }
  if (wanted !== undefined && wanted !== "") {
    return `no WebGPU adapter (DENO_WEBGPU_BACKEND=${wanted} limits the choice)`;
  }
  return "no WebGPU adapter: no GPU driver is installed";
}

function describe(
  adapter: GPUAdapter,
  device: GPUDevice,
  features: readonly string[],
): GpuAdapterInfo {
  const raw = adapter.info;
  const limits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) limits[name] = device.limits[name];
  return {
    description: raw.description || raw.device || "unnamed adapter",
    vendor: raw.vendor,
    architecture: raw.architecture,
    software: isSoftwareAdapter(raw),
    isFallback: raw.isFallbackAdapter === true,
    features,
    limits,
  };
}

/**
 * Requests the fastest adapter and creates a device with the adapter's limits and every wanted feature
 * that it has. Errors that the device reports go to `gpuErrors()`.
 *
 * @returns the device, or the reason why there is none.
 */
export async function requestGpu(): Promise<Gpu | NoGpu> {
  quietDriverLoaders();
  if (typeof navigator === "undefined" || navigator.gpu === undefined) {
    return { reason: "this runtime has no WebGPU (navigator.gpu is missing)" };
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) return { reason: environmentReason() };
  const features = WANTED_FEATURES.filter((name) => adapter.features.has(name));
  const requiredLimits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) {
    const limit = adapter.limits[name];
    if (typeof limit === "number") requiredLimits[name] = limit;
  }
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      requiredFeatures: features as GPUFeatureName[],
      requiredLimits,
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { reason: `the adapter "${adapter.info.description}" gave no device: ${message}` };
  }
  let destroyed = false;
  watchDevice(device, () => destroyed);
  return {
    device,
    info: describe(adapter, device, features),
    rawInfo: adapter.info,
    destroy(): void {
      destroyed = true;
      device.destroy();
    },
  };
}
