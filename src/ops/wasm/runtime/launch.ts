/**
 * Ops whose kernels run on the wasm heap.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { firstOutput, type FusedOp, runOp } from "../../tape/fused_op.ts";
import type { KernelModule } from "./kernel_module.ts";

export { pairedGradients, sharedGradients, wantsGradient } from "../../tape/fused_op.ts";

/** What the forward function of an op works with. */
export interface Launch {
  readonly module: KernelModule;
  /** Address of a tensor's first value. */
  address(tensor: tf.TensorInfo): number;
  /** A new tensor, its values undefined. */
  output(shape: readonly number[], dtype?: "float32" | "int32"): tf.TensorInfo;
  /** The sum that a kernel adds to; a new tensor if there is none. */
  target(shape: readonly number[], sum: tf.TensorInfo | undefined): tf.TensorInfo;
  /** Puts integers on the heap while `use` runs, and gives it their addresses. */
  withIntegers<T>(arrays: readonly Int32Array[], use: (addresses: number[]) => T): T;
}

/** These tools, on the module's own backend. */
export function launchOn(module: KernelModule): Launch {
  const { backend, memory } = module.heap;
  return {
    module,
    address: (tensor) => backend.dataIdMap.get(tensor.dataId).memoryOffset,
    output: (shape, dtype = "float32") => backend.makeOutput(shape, dtype),
    target: (shape, sum) => sum ?? backend.makeOutput(shape, "float32"),
    withIntegers<T>(arrays: readonly Int32Array[], use: (addresses: number[]) => T): T {
      const total = arrays.reduce((sum, array) => sum + array.length, 0);
      const block = module.heap.malloc(total * 4);
      try {
        let address = block;
        const addresses = arrays.map((array) => {
          const start = address;
          new Int32Array(memory.buffer, start, array.length).set(array);
          address += array.length * 4;
          return start;
        });
        return use(addresses);
      } finally {
        module.heap.free(block);
      }
    },
  };
}

/**
 * Runs an op and returns its first output; the others are kept only if the backward pass reads
 * them.
 */
export function launch<T extends tf.Tensor>(module: KernelModule, op: FusedOp<Launch>): T {
  return firstOutput(launchAll(module, op));
}

/** Runs an op and returns all its outputs. */
export function launchAll(module: KernelModule, op: FusedOp<Launch>): tf.Tensor[] {
  return runOp(op, "wasm", () => launchOn(module));
}
