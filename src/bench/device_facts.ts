/**
 * Where a benchmark ran: without it a time means nothing.
 *
 * @module
 */
import { type ActiveBackend, activeBackend } from "../device/backend.ts";
import { findBlas } from "../device/products/blas.ts";
import { wasmThreads } from "../device/wasm_heap.ts";

/** The machine and the backend. */
export interface DeviceFacts {
  readonly backend: ActiveBackend["name"];
  /** Why that one. */
  readonly reason: string;
  /** Of the GPU; null on the CPU. */
  readonly adapter: string | null;
  /** The library of the products on the wasm backend; null: our own. */
  readonly blas: string | null;
  /** Why there is no BLAS; null if there is one, or another backend runs. */
  readonly blas_missing: string | null;
  /** Threads of the kernels on the CPU. */
  readonly threads: number;
  readonly cpu: string | null;
  readonly cores: number;
  readonly system: string;
  readonly deno: string;
}

function cpuName(): string | null {
  try {
    const text = Deno.readTextFileSync("/proc/cpuinfo");
    return /^model name\s*:\s*(.+)$/m.exec(text)?.[1] ?? null;
  } catch {
    return null;
  }
}

/** How busy the machine is: processes that run or want to, over the last minute. */
export function loadAverage(): number | null {
  try {
    return Deno.loadavg()[0];
  } catch {
    return null;
  }
}

/**
 * What the current backend is.
 *
 * @throws {Error} if none was started
 */
export function deviceFacts(): DeviceFacts {
  const backend = activeBackend();
  if (backend === null) throw new Error("Cannot name the device: no backend was started");
  const blas = backend.name === "wasm" ? findBlas() : null;
  const found = blas !== null && "library" in blas ? blas : null;
  return {
    backend: backend.name,
    reason: backend.reason,
    adapter: backend.adapterInfo?.description ?? null,
    blas: found?.library ?? null,
    blas_missing: blas !== null && "reason" in blas ? blas.reason : null,
    threads: backend.name === "wasm" ? wasmThreads() : 1,
    cpu: cpuName(),
    cores: navigator.hardwareConcurrency,
    system: Deno.build.target,
    deno: Deno.version.deno,
  };
}
