/**
 * The only place that asks for a GPU adapter.
 * @module
 */
import { watchDevice } from "./gpu_errors.ts";

/** What is known about the adapter behind a device. */
export interface GpuAdapterInfo {
  /** As the driver names itself, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  readonly vendor: string;
  readonly architecture: string;
  /** True where a CPU plays the GPU (lavapipe, SwiftShader, WARP). */
  readonly software: boolean;
  /** What WebGPU itself says of that: it decides which kernels run. */
  readonly isFallback: boolean;
  /** Those of the features below that the adapter has and the device was made with. */
  readonly features: readonly string[];
  /** The device's limits, which are the adapter's. */
  readonly limits: Readonly<Record<string, number>>;
}

/** A device of ours. Whoever made it calls {@link Gpu.destroy}. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly info: GpuAdapterInfo;
  readonly rawInfo: GPUAdapterInfo;
  destroy(): void;
}

/** Why there is no GPU, in words for the user. */
export interface NoGpu {
  readonly reason: string;
}

/** Features that some kernel of ours uses. */
export const WANTED_FEATURES = ["shader-f16"] as const;

/** Limits in which more is better and which kernels or tfjs reach for. */
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
 * Sets XDG_RUNTIME_DIR where it is missing, so that the Vulkan/EGL loaders do not print
 * "XDG_RUNTIME_DIR is invalid" on headless machines. Quietly does nothing without the permission.
 */
function quietDriverLoaders(): void {
  if (Deno.build.os !== "linux") return;
  try {
    if (!Deno.env.get("XDG_RUNTIME_DIR")) {
      Deno.env.set("XDG_RUNTIME_DIR", Deno.env.get("TMPDIR") ?? "/tmp");
    }
  } catch {
    // No env permission: the warning is harmless.
  }
}

/** What makes an adapter software: the flag, or the names its drivers give themselves. */
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
 * Asks for the fastest adapter and makes a device with the adapter's own limits and every wanted
 * feature it has. Errors that the device reports go to `gpuErrors()`.
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
