/**
 * Our wasm module on the tfjs wasm backend's heap.
 *
 * The module has no memory, data or globals of its own: it gets a stack and scratch memory from the
 * host's malloc (`kernels/check_module.ts` checks the binary).
 * @module
 */
import { type Blas, memoryAddress, shapeOf } from "../../../device/products/blas.ts";
import { withSharedMemory } from "../../../device/shared_wasm_memory.ts";
import type { WasmHeap } from "../../../device/wasm_heap.ts";
import { cutGemm } from "./gemm_parts.ts";
import { GrowingBlock } from "./growing_block.ts";
import { isTraced, traceWasm } from "../../trace_kernels.ts";
import { argumentList, type Kernel, type KernelModule, type KernelName } from "./kernel_module.ts";
import { KERNEL_PARAMETERS } from "./kernel_parameters.ts";
import { type KernelThreads, startKernelThreads } from "./kernel_threads.ts";
import { PLAIN_KERNELS, RELAXED_KERNELS } from "./kernels_binary.ts";

/** 64 KiB: the deepest kernel keeps a few tiles there. */
const STACK_BYTES = 64 * 1024;

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Compiles the binary with relaxed SIMD if this engine validates it, else the plain one. */
function compile(shared: boolean): { code: WebAssembly.Module; relaxed: boolean } {
  const fused = decodeBase64(RELAXED_KERNELS);
  const relaxed = WebAssembly.validate(fused);
  const bytes = relaxed ? fused : decodeBase64(PLAIN_KERNELS);
  return {
    code: new WebAssembly.Module(shared ? withSharedMemory(bytes) ?? bytes : bytes),
    relaxed,
  };
}

/** Allocates a stack on the heap and returns its start: stacks grow down, from a 16-byte boundary. */
function newStack(heap: WasmHeap): number {
  return Math.floor((heap.malloc(STACK_BYTES) + STACK_BYTES) / 16) * 16;
}

/** How the kernels run. */
export interface KernelModuleOptions {
  /** Computes the large products, if there is one. */
  readonly blas?: Blas;
  /** Threads that share large work, ours included; 1 if the heap is not shared. Default 1. */
  readonly threads?: number;
}

/** Puts the kernels on a heap. Other threads start when there is work for them. */
export function loadKernelModule(
  heap: WasmHeap,
  { blas, threads: wantedThreads = 1 }: KernelModuleOptions = {},
): KernelModule {
  const { code, relaxed } = compile(heap.shared);
  const gemms = blas?.largeGemms(heap.memory) ?? [() => 0];
  /** The library that multiplies in the current job of the threads; the default for other kernels. */
  let jobLibrary = 0;
  /** Whether a call of `runParts` runs on this thread alone. */
  let insidePart = false;
  const largeGemm = (...product: number[]): number => {
    // Products inside a job must not be measured: which thread computes them is not determined.
    if (pool?.busy) return gemms[jobLibrary](...product);
    const calls = threads === 1
      ? null
      : cutGemm(product, pool?.count ?? threads, blas !== undefined);
    // Inside of attention shapes depend on the rows beside a row; its bits must not.
    const library = insidePart ? 0 : blas?.choose(shapeOf(product)) ?? 0;
    if (traced && blas !== undefined) {
      const [m, n, k] = product;
      traceWasm(`large_gemm of ${blas.libraries[library].name}`, { m, n, k });
    }
    if (calls === null) return gemms[library](...product);
    jobLibrary = library;
    try {
      runParts("nano_gemm", calls, call("nano_gemm_scratch_floats", {}));
    } finally {
      jobLibrary = 0;
    }
    return 1;
  };
  const instance = new WebAssembly.Instance(code, {
    env: { memory: heap.memory, large_gemm: largeGemm },
  });
  const stackPointer = instance.exports.__stack_pointer;
  if (!(stackPointer instanceof WebAssembly.Global)) {
    throw new Error("The kernels binary exports no stack pointer; run `deno task build-kernels`");
  }
  stackPointer.value = newStack(heap) | 0;
  const kernels: Record<string, Kernel> = {};
  for (const [name, value] of Object.entries(instance.exports)) {
    if (typeof value === "function") kernels[name] = value as Kernel;
  }
  const traced = isTraced("wasm");
  const listOf = (name: KernelName, named: Readonly<Record<string, number>>): number[] => {
    if (traced) traceWasm(name, named);
    return argumentList(name, named);
  };
  const call: KernelModule["call"] = (name, named) => kernels[name](...listOf(name, named));
  const scratch = new GrowingBlock(heap);
  const callScratch = new GrowingBlock(heap);
  const threads = heap.shared ? Math.max(1, wantedThreads) : 1;
  let pool: KernelThreads | null = null;
  const startPool = (): KernelThreads =>
    startKernelThreads(kernels, {
      memory: heap.memory,
      code,
      stacks: Array.from({ length: threads - 1 }, () => newStack(heap)),
      blas: blas === undefined
        ? null
        : { libraries: blas.libraries, base: memoryAddress(heap.memory) },
    });
  const runParts: KernelModule["runParts"] = (name, calls, scratchFloats) => {
    const floats = Math.ceil((scratchFloats ?? 0) / 16) * 16;
    if (threads === 1 || calls.length === 1) {
      // A product inside of such a call may be cut by largeGemm, which then uses the other block.
      insidePart = true;
      try {
        for (const part of calls) {
          const own = scratchFloats === undefined ? {} : { scratch: scratch.address(floats) };
          kernels[name](...listOf(name, { ...part, ...own }));
        }
      } finally {
        insidePart = false;
      }
      return;
    }
    pool ??= startPool();
    const filled = scratchFloats === undefined ? {} : { scratch: 0 };
    const lists = calls.map((part) => listOf(name, { ...part, ...filled }));
    const names: readonly string[] = KERNEL_PARAMETERS[name];
    const room = scratchFloats === undefined ? undefined : {
      parameter: names.indexOf("scratch"),
      address: callScratch.address(floats * threads),
      stride: floats * 4,
    };
    pool.run(name, lists, room, jobLibrary);
  };
  return {
    heap,
    relaxed,
    call,
    threads,
    get startedThreads() {
      return pool === null ? 0 : pool.count - 1;
    },
    runParts,
    scratch: (floats) => scratch.address(floats),
    stopThreads: () => pool?.stop(),
  };
}
