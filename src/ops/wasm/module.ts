/**
 * Our wasm module on the tfjs wasm backend's heap.
 *
 * The module has no memory, data or globals of its own: it is given a stack and scratch that the
 * host's malloc hands out (`kernels/check_module.ts` checks the binary).
 * @module
 */
import type { LargeGemm } from "../../device/blas.ts";
import { withSharedMemory } from "../../device/shared_wasm_memory.ts";
import type { WasmHeap } from "../../device/wasm_heap.ts";
import { PLAIN_KERNELS, RELAXED_KERNELS } from "./kernels_binary.ts";

/** An exported kernel: numbers in (addresses, counts, floats), at most one number out. */
export type Kernel = (...parameters: number[]) => number;

/** 64 KiB: the deepest kernel keeps a few tiles there. */
const STACK_BYTES = 64 * 1024;

/** The module while its heap is up. */
export interface KernelModule {
  readonly heap: WasmHeap;
  /** True where multiply-add is fused. */
  readonly relaxed: boolean;
  /** @throws {Error} where the binary has no such kernel. */
  kernel(name: string): Kernel;
  /** Address of at least `floats` floats, 16-byte aligned, until the next call of `scratch`. */
  scratch(floats: number): number;
  /** Bytes that the module holds on the heap: stack and scratch. */
  heldBytes(): number;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Compiles the fused binary where this engine validates it, else the plain one. */
function compile(shared: boolean): { code: WebAssembly.Module; relaxed: boolean } {
  const fused = decodeBase64(RELAXED_KERNELS);
  const relaxed = WebAssembly.validate(fused);
  const bytes = relaxed ? fused : decodeBase64(PLAIN_KERNELS);
  return {
    code: new WebAssembly.Module(shared ? withSharedMemory(bytes) ?? bytes : bytes),
    relaxed,
  };
}

/**
 * Puts the kernels on a heap.
 *
 * @param largeGemm the product that they hand large work to, where there is a faster one
 */
export function loadKernelModule(
  heap: WasmHeap,
  largeGemm: LargeGemm = () => 0,
): KernelModule {
  const { code, relaxed } = compile(heap.shared);
  const imports = { env: { memory: heap.memory, large_gemm: largeGemm } };
  const instance = new WebAssembly.Instance(code, imports);
  const stackPointer = instance.exports.__stack_pointer;
  if (!(stackPointer instanceof WebAssembly.Global)) {
    throw new Error("The kernels binary exports no stack pointer; run `deno task build-kernels`.");
  }
  const stack = heap.malloc(STACK_BYTES);
  // Stacks grow down, from a 16-byte boundary.
  stackPointer.value = ((stack + STACK_BYTES) & ~15) | 0;
  let scratchAddress = 0;
  let scratchFloats = 0;
  return {
    heap,
    relaxed,
    kernel(name: string): Kernel {
      const kernel = instance.exports[name];
      if (typeof kernel !== "function") throw new Error(`No kernel named ${name}.`);
      return kernel as Kernel;
    },
    scratch(floats: number): number {
      if (floats > scratchFloats) {
        if (scratchAddress !== 0) heap.free(scratchAddress);
        scratchAddress = 0;
        scratchFloats = 0;
        scratchAddress = heap.malloc(floats * 4 + 16);
        scratchFloats = floats;
      }
      return Math.ceil(scratchAddress / 16) * 16;
    },
    heldBytes: () => STACK_BYTES + scratchFloats * 4,
  };
}
