/**
 * Starts a thread of the kernels in Deno. The page of `export web` has another module in place of
 * this one (`src/web/browser/spawn_kernel_thread.ts`).
 * @module
 */
import { Worker } from "node:worker_threads";
import { sgemmOnHeap } from "../../../device/products/blas.ts";
import { type GemmLibrary, openGemmLibrary } from "../../../device/products/gemm_library.ts";

/** A BLAS that the threads call for large products, as our own thread does. */
export interface ThreadBlas {
  readonly libraries: readonly GemmLibrary[];
  /** The process's address of the heap's first byte; a shared heap never moves. */
  readonly base: bigint;
}

/** What a thread starts with. */
export interface ThreadData {
  /** The shared words by which threads share calls. */
  readonly block: SharedArrayBuffer;
  readonly memory: WebAssembly.Memory;
  readonly code: WebAssembly.Module;
  /** Names of the kernels, which jobs number. */
  readonly names: readonly string[];
  /** Start of the thread's stack. */
  readonly stack: number;
  readonly blas: ThreadBlas | null;
  /** 1 for the first beside our own. */
  readonly thread: number;
}

/** A thread. */
export interface KernelThread {
  terminate(): unknown;
}

const START = `
const { workerData: data } = require("node:worker_threads");
const sgemmOnHeap = ${sgemmOnHeap};
const openGemmLibrary = ${openGemmLibrary};
const productOf = (library) => {
  if (data.blas === null) return () => 0;
  const libraries = data.blas.libraries.map((each) => openGemmLibrary(each));
  return (...parameters) => sgemmOnHeap(libraries[library()], data.blas.base, ...parameters);
};
`;

/**
 * Starts a thread that does not keep the process alive.
 *
 * @param run source text of a function of the data, and of a function that makes the product of a
 *   library, whose index it gets by a call
 */
export function spawnKernelThread(run: string, data: ThreadData): KernelThread {
  const worker = new Worker(`${START}(${run})(data, productOf);`, {
    eval: true,
    workerData: data,
  });
  worker.unref();
  worker.on("error", () => {});
  return worker;
}
