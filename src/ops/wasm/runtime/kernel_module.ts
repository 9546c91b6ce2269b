/**
 * What the kernels of the wasm backend run on: our module on tfjs's heap (`module.ts`).
 * @module
 */
import type { WasmHeap } from "../../../device/wasm_heap.ts";
import { KERNEL_PARAMETERS } from "./kernel_parameters.ts";

/** An exported kernel: numbers in (addresses, counts, floats), at most one number out. */
export type Kernel = (...parameters: number[]) => number;

/** The name of a kernel: `nano_…`. */
export type KernelName = keyof typeof KERNEL_PARAMETERS;

/**
 * The arguments of a kernel by the names that its C source has for them: addresses in bytes, counts
 * and floats.
 */
export type KernelArguments<Name extends KernelName> = Readonly<
  Record<(typeof KERNEL_PARAMETERS)[Name][number], number>
>;

/** The arguments without the scratch memory, for which the module gives an address. */
export type PartArguments<Name extends KernelName> = Omit<KernelArguments<Name>, "scratch">;

/**
 * Arguments in the order in which the kernel takes them.
 *
 * @throws {TypeError} if one is missing, or is none of the kernel's
 */
export function argumentList(
  kernel: KernelName,
  named: Readonly<Record<string, number>>,
): number[] {
  const names: readonly string[] = KERNEL_PARAMETERS[kernel];
  const list = names.map((name) => named[name]);
  const isMissing = list.some((value) => value === undefined);
  if (isMissing || Object.keys(named).length !== names.length) {
    throw new TypeError(
      `Cannot call ${kernel}(${names.join(", ")}): got ${Object.keys(named).join(", ")}.`,
    );
  }
  return list;
}

/** The module while its heap is up. */
export interface KernelModule {
  readonly heap: WasmHeap;
  /** Whether multiply-add is fused. */
  readonly relaxed: boolean;
  /**
   * Calls a kernel.
   *
   * @throws {TypeError} if an argument is missing, or is none of the kernel's
   */
  call<Name extends KernelName>(name: Name, named: KernelArguments<Name>): number;
  /** Address of at least `floats` floats, 16-byte aligned, until the next call of `scratch`. */
  scratch(floats: number): number;
  /** Threads that large work may be cut for, ours included. */
  readonly threads: number;
  /** Threads beside ours that have been started: none before there is work for them. */
  readonly startedThreads: number;
  /**
   * Runs calls of one kernel on all threads. No call may read or write what another one writes.
   *
   * @param scratchFloats floats of scratch memory for each call, if the kernel takes `scratch`
   * @throws {Error} if another thread has died in a call
   */
  runParts<Name extends KernelName>(
    name: Name,
    calls: readonly PartArguments<Name>[],
    scratchFloats?: number,
  ): void;
  /** Ends the other threads; everything then runs on ours. */
  stopThreads(): void;
}
