/**
 * What a browser gets in place of `src/ops/wasm/runtime/kernel_threads.ts`: kernels run on the thread
 * of the worker that runs the model.
 *
 * @module
 */

/** Never called, since a browser's heap is not shared. */
export function startKernelThreads(): never {
  throw new Error("Cannot start threads of the kernels: a browser runs them on one thread");
}
