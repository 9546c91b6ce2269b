/**
 * What kernels of the wasm backend run on: our module on tfjs's heap (`module.ts`).
 * @module
 */
import type { WasmHeap } from "../../../device/wasm_heap.ts";

/** An exported kernel: numbers in (addresses, counts, floats), at most one number out. */
export type Kernel = (...parameters: number[]) => number;

/** The module while its heap is up. */
export interface KernelModule {
  readonly heap: WasmHeap;
  /** True where multiply-add is fused. */
  readonly relaxed: boolean;
  /** @throws {Error} where the binary has no such kernel. */
  kernel(name: string): Kernel;
  /** Address of at least `floats` floats, 16-byte aligned, until the next call of `scratch`. */
  scratch(floats: number): number;
  /** Threads that large work may be cut for, ours included. */
  readonly threads: number;
  /** Threads beside ours that have been started: none before there is work for them. */
  readonly startedThreads: number;
  /**
   * Runs calls of one kernel, none of which reads or writes what another writes, on all threads.
   *
   * @param scratch room of so many floats for each call: its address goes into that parameter
   * @throws {Error} where another thread has died in a call
   */
  runParts(
    kernel: string,
    calls: readonly (readonly number[])[],
    scratch?: { readonly parameter: number; readonly floats: number },
  ): void;
  /** Ends the other threads; everything then runs on ours. */
  stopThreads(): void;
}
