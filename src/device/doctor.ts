/**
 * What this machine has and what is missing, with the cost of that and a way to get it.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { type Blas, findBlas } from "./products/blas.ts";
import { type GpuAdapterInfo, requestGpu } from "./adapter.ts";
import { formatMebibytes } from "./out_of_memory.ts";
import { threadCount } from "./thread_count.ts";
import { unsharedReason } from "./wasm_heap.ts";

/** One finding. */
export interface DoctorLine {
  /** For example `adapter`. */
  readonly topic: string;
  readonly value: string;
  /** Whether nothing is missing. */
  readonly good: boolean;
  /** If something is missing: what it costs, and how to get it. */
  readonly advice?: string;
}

/** Whether this engine accepts a module that uses one instruction. */
function validates(body: readonly number[]): boolean {
  // deno-fmt-ignore
  return WebAssembly.validate(new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, body.length + 4, 1,
    body.length + 2, 0, ...body, 11,
  ]));
}

const ZERO = [253, 12, ...new Array<number>(16).fill(0)];

/** Whether WebAssembly has 128-bit vectors. */
export function hasWasmSimd(): boolean {
  return validates(ZERO);
}

/** Whether those vectors have a fused multiply-add. */
export function hasWasmRelaxedSimd(): boolean {
  return validates([...ZERO, ...ZERO, ...ZERO, 253, 0x85, 2]);
}

function permissionLine(): DoctorLine {
  const names = ["read", "write", "env", "net", "run", "ffi", "sys"] as const;
  const granted = names.filter((name) => Deno.permissions.querySync({ name }).state === "granted");
  return { topic: "permissions", value: granted.join(", ") || "none", good: true };
}

function threadsLine(): DoctorLine {
  const reason = unsharedReason();
  const count = threadCount();
  if (reason === null) return { topic: "wasm threads", value: `${count}`, good: true };
  const cores = navigator.hardwareConcurrency;
  return {
    topic: "wasm threads",
    value: `1: ${reason}`,
    good: cores === 1,
    ...cores > 1 && {
      advice: `Large products and loops on the CPU path run on one of ${cores} cores: leave ` +
        "NANOVLM_THREADS unset, and use a Deno that has SharedArrayBuffer.",
    },
  };
}

function adapterLines(info: GpuAdapterInfo): DoctorLine[] {
  const limit = (name: string) => info.limits[name];
  const binding = limit("maxStorageBufferBindingSize");
  const lines: DoctorLine[] = [
    {
      topic: "adapter",
      value: `${info.description}${info.software ? " (software)" : ""}`,
      good: !info.software,
      ...info.software && {
        advice:
          "A software adapter: results are right, but it is slower than the wasm backend, which `auto` takes. " +
          "With a GPU in the machine, install its vendor's Vulkan driver.",
      },
    },
    {
      topic: "driver",
      value: [info.vendor, info.architecture].filter(Boolean).join(" ") || "unnamed",
      good: true,
    },
    {
      topic: "largest buffer",
      value: `${formatMebibytes(limit("maxBufferSize"))}, ${formatMebibytes(binding)} in a binding`,
      good: binding >= 2 ** 28,
      ...binding < 2 ** 28 && {
        advice:
          "Tensors above the binding limit cannot be used by one kernel: lower the batch size " +
          "or the vocabulary's share of it.",
      },
    },
    {
      topic: "workgroups",
      value: `${limit("maxComputeInvocationsPerWorkgroup")} invocations, ` +
        `${limit("maxComputeWorkgroupStorageSize")} bytes shared`,
      good: true,
    },
  ];
  const narrow = info.features.includes("shader-f16");
  lines.push({
    topic: "shader-f16",
    value: narrow ? "yes" : "no",
    good: narrow,
    ...!narrow && {
      advice: "Products of training.fp16 read float32, as those of bf16 do everywhere; a newer " +
        "driver may have it.",
    },
  });
  return lines;
}

/** The libraries, and how many measured shapes each of them multiplies. */
function describeBlas(blas: Blas): string {
  const counts = Map.groupBy(blas.choices().values(), (name) => name);
  if (counts.size === 0) return blas.library;
  const shares = [...counts].map(([name, shapes]) => `${name} ${shapes.length}`).sort();
  return `${blas.library}; measured shapes: ${shares.join(", ")} (${blas.choicesFile})`;
}

/** Examines the machine; starts a device for a moment, but trains nothing. */
export async function doctorReport(): Promise<DoctorLine[]> {
  const lines: DoctorLine[] = [
    {
      topic: "deno",
      value: `${Deno.version.deno} (V8 ${Deno.version.v8}), ${Deno.build.target}`,
      good: true,
    },
    { topic: "tfjs", value: tf.version_core, good: true },
    { topic: "cpu", value: `${navigator.hardwareConcurrency} threads`, good: true },
    permissionLine(),
  ];
  const gpu = await requestGpu();
  if ("reason" in gpu) {
    lines.push({
      topic: "adapter",
      value: `none: ${gpu.reason}`,
      good: false,
      advice:
        "Training runs on the wasm backend. With a GPU in the machine, install its vendor's " +
        "Vulkan driver; to try the webgpu path without one, Debian's mesa-vulkan-drivers.",
    });
  } else {
    lines.push(...adapterLines(gpu.info));
    gpu.destroy();
  }
  const simd = hasWasmSimd();
  const relaxed = hasWasmRelaxedSimd();
  lines.push(
    {
      topic: "wasm SIMD",
      value: simd ? "yes" : "no",
      good: simd,
      ...!simd && { advice: "The CPU path is several times slower without it: update Deno." },
    },
    {
      topic: "wasm relaxed SIMD",
      value: relaxed ? "yes" : "no",
      good: relaxed,
      ...!relaxed && { advice: "Products on the CPU path run at two thirds: update Deno." },
    },
    threadsLine(),
  );
  const blas = findBlas();
  lines.push(
    "library" in blas ? { topic: "BLAS", value: describeBlas(blas), good: true } : {
      topic: "BLAS",
      value: `none: ${blas.reason}`,
      good: false,
      advice:
        "Products on the CPU path run at about half speed; allow --allow-ffi and, on Debian, " +
        "`apt install libblis4-serial libdnnl2`.",
    },
  );
  return lines;
}
