/**
 * What a browser gets in place of `src/ops/wasm/runtime/spawn_kernel_thread.ts`: a worker of the worker
 * that runs the model. Only a page that is isolated from other origins has shared memory, and so
 * threads.
 *
 * @module
 */
import type { KernelThread, ThreadData } from "../../ops/wasm/runtime/spawn_kernel_thread.ts";

/**
 * Starts a thread.
 *
 * @param run source text of a function of the data, and of a function that makes the product of a
 *   library, which a browser does not have
 */
export function spawnKernelThread(run: string, data: ThreadData): KernelThread {
  const source = `onmessage = ({ data }) => (${run})(data, () => () => 0);`;
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(address);
  worker.postMessage(data);
  return worker;
}
