/**
 * The heap of the wasm backend: tfjs keeps its tensors on it, our kernels read and write there.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { OutOfMemoryError } from "./out_of_memory.ts";
import { withSharedMemory } from "./shared_wasm_memory.ts";
import { threadCount } from "./thread_count.ts";

/** 4 GiB less a page: what a 32-bit WebAssembly memory can hold. */
export const WASM_HEAP_LIMIT_BYTES: number = 2 ** 32 - 2 ** 16;

/** The parts of tfjs's Emscripten module that we use. */
export interface EmscriptenModule {
  _malloc(bytes: number): number;
  _free(address: number): void;
  HEAPU8: Uint8Array;
}

/** The parts of tfjs's wasm backend that kernels use. */
export interface WasmBackend extends tf.KernelBackend {
  readonly wasm: EmscriptenModule;
  readonly dataIdMap: { get(dataId: tf.DataId): { memoryOffset: number; refCount: number } };
  makeOutput(shape: readonly number[], dtype: tf.DataType): tf.TensorInfo;
}

/** The heap while the wasm backend is running. */
export interface WasmHeap {
  readonly memory: WebAssembly.Memory;
  /** Whether other threads may work on the memory in place. */
  readonly shared: boolean;
  readonly backend: WasmBackend;
  /** Live bytes: tensors and blocks of {@link WasmHeap.malloc}. */
  usedBytes(): number;
  /**
   * Allocates bytes outside any tensor. 16-byte aligned.
   * @throws {OutOfMemoryError} if the heap cannot grow that far
   */
  malloc(bytes: number): number;
  free(address: number): void;
}

let current: WasmHeap | null = null;

/** The wasm backend's heap; null if that backend is not running. */
export function wasmHeap(): WasmHeap | null {
  return current;
}

/** Threads that the wasm backend's kernels may use, ours included. */
export function wasmThreads(): number {
  return current === null || !current.shared ? 1 : threadCount();
}

type Instantiate = typeof WebAssembly.instantiate;
type Exports = { exports: Record<string, unknown> };

/** Why threads cannot share the memory of tensors; null if they can. */
export function unsharedReason(): string | null {
  if (threadCount() < 2) return "one thread is asked for, or there is one core";
  if (typeof SharedArrayBuffer === "undefined") return "there is no SharedArrayBuffer";
  return current !== null && !current.shared ? "the memory could not be shared" : null;
}

/**
 * Runs `start` (which makes tfjs instantiate its module) and returns the memory that the module
 * exported. tfjs does not expose that memory, so `WebAssembly.instantiate` is intercepted meanwhile; with
 * `share`, the module gets a shared memory if this engine can create one.
 */
async function captureMemory(
  start: () => Promise<void>,
  share: boolean,
): Promise<WebAssembly.Memory> {
  let memory: WebAssembly.Memory | undefined;
  const look = (instance: Exports) => {
    for (const value of Object.values(instance.exports)) {
      if (value instanceof WebAssembly.Memory) memory = value;
    }
  };
  const original: Instantiate = WebAssembly.instantiate;
  const watched = async (
    source: BufferSource | WebAssembly.Module,
    imports?: WebAssembly.Imports,
  ): Promise<WebAssembly.Instance | WebAssembly.WebAssemblyInstantiatedSource> => {
    if (source instanceof WebAssembly.Module) {
      const instance = await original(source, imports);
      look(instance);
      return instance;
    }
    const bytes = source instanceof ArrayBuffer
      ? new Uint8Array(source)
      : new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    const shared = share ? withSharedMemory(bytes) : null;
    let result: WebAssembly.WebAssemblyInstantiatedSource;
    try {
      result = await original(shared ?? source, imports);
    } catch (error) {
      if (shared === null) throw error;
      result = await original(source, imports); // As it came: on one thread.
    }
    look(result.instance);
    return result;
  };
  WebAssembly.instantiate = watched as Instantiate;
  try {
    await start();
  } finally {
    WebAssembly.instantiate = original;
  }
  if (memory === undefined) {
    throw new Error(
      "Cannot reach the wasm backend's heap: tfjs instantiated no module with an exported memory; " +
        "use the tfjs-backend-wasm version that deno.json pins",
    );
  }
  return memory;
}

/**
 * Makes tfjs's malloc throw if the heap is full, and counts its bytes. Unchanged, it returns address 0
 * or traps inside the allocator, and tfjs writes there.
 *
 * @returns the live bytes
 */
function guardMalloc(module: EmscriptenModule): () => number {
  // Emscripten's exports are stubs that replace themselves by the real function on the first call.
  module._free(module._malloc(16));
  const malloc = module._malloc.bind(module);
  const free = module._free.bind(module);
  const sizes = new Map<number, number>();
  let used = 0;
  const allocate = (bytes: number): number => {
    if (used + bytes > WASM_HEAP_LIMIT_BYTES) return 0;
    try {
      return malloc(bytes) >>> 0;
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) return 0;
      throw error;
    }
  };
  module._malloc = (bytes: number): number => {
    const address = allocate(bytes);
    if (address === 0) {
      throw new OutOfMemoryError("the wasm heap", bytes, used, WASM_HEAP_LIMIT_BYTES);
    }
    sizes.set(address, bytes);
    used += bytes;
    return address;
  };
  module._free = (address: number): void => {
    used -= sizes.get(address) ?? 0;
    sizes.delete(address);
    free(address);
  };
  return () => used;
}

/**
 * Starts tfjs's wasm backend, once in a process, and keeps its heap.
 *
 * @throws {Error} if tfjs cannot start it
 */
export async function startWasmBackend(): Promise<WasmHeap> {
  if (current !== null) {
    await tf.setBackend("wasm");
    return current;
  }
  await import("@tensorflow/tfjs-backend-wasm");
  const memory = await captureMemory(async () => {
    if (!await tf.setBackend("wasm")) throw new Error("Cannot start the wasm backend of tfjs");
    await tf.ready();
  }, unsharedReason() === null);
  const backend = tf.backend() as WasmBackend;
  const module = backend.wasm;
  current = {
    memory,
    shared: typeof SharedArrayBuffer !== "undefined" && memory.buffer instanceof SharedArrayBuffer,
    backend,
    usedBytes: guardMalloc(module),
    malloc: (bytes) => module._malloc(Math.max(bytes, 16)),
    free: (address) => module._free(address),
  };
  return current;
}
