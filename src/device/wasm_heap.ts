/**
 * The wasm backend's own heap: where tfjs keeps tensors, where our kernels read and write.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { OutOfMemoryError } from "./out_of_memory.ts";

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

/** The heap while the wasm backend is up. */
export interface WasmHeap {
  readonly memory: WebAssembly.Memory;
  readonly backend: WasmBackend;
  /** Bytes handed out by {@link WasmHeap.malloc} and tfjs, as far as is known. */
  usedBytes(): number;
  /**
   * Allocates bytes outside any tensor. 16-byte aligned.
   * @throws {OutOfMemoryError} where the heap cannot grow that far.
   */
  malloc(bytes: number): number;
  free(address: number): void;
}

let current: WasmHeap | null = null;

/** The wasm backend's heap, or null while that backend is not up. */
export function wasmHeap(): WasmHeap | null {
  return current;
}

type Instantiate = typeof WebAssembly.instantiate;
type Exports = { exports: Record<string, unknown> };

/**
 * Runs `start` (which makes tfjs instantiate its module) and returns the memory that the module
 * exported. tfjs keeps that memory to itself, so `WebAssembly.instantiate` is watched meanwhile.
 */
async function captureMemory(start: () => Promise<void>): Promise<WebAssembly.Memory> {
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
    const result = await original(source, imports);
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
        "use the tfjs-backend-wasm version that deno.json pins.",
    );
  }
  return memory;
}

/** Makes tfjs's malloc throw where it would hand out address 0 and corrupt the heap. */
function guardMalloc(module: EmscriptenModule): void {
  const malloc = module._malloc.bind(module);
  module._malloc = (bytes: number): number => {
    const address = bytes > WASM_HEAP_LIMIT_BYTES ? 0 : malloc(bytes) >>> 0;
    if (address === 0) {
      throw new OutOfMemoryError(
        "the wasm heap",
        bytes,
        tf.memory().numBytes,
        WASM_HEAP_LIMIT_BYTES,
      );
    }
    return address;
  };
}

/**
 * Brings up tfjs's wasm backend, once a process, and keeps its heap.
 *
 * @throws {Error} where tfjs cannot start it.
 */
export async function startWasmBackend(): Promise<WasmHeap> {
  if (current !== null) {
    await tf.setBackend("wasm");
    return current;
  }
  await import("@tensorflow/tfjs-backend-wasm");
  const memory = await captureMemory(async () => {
    if (!await tf.setBackend("wasm")) throw new Error("tfjs could not start its wasm backend.");
    await tf.ready();
  });
  const backend = tf.backend() as WasmBackend;
  const module = backend.wasm;
  guardMalloc(module);
  current = {
    memory,
    backend,
    usedBytes: () => tf.memory().numBytes,
    malloc: (bytes) => module._malloc(Math.max(bytes, 16)),
    free: (address) => module._free(address),
  };
  return current;
}
