/**
 * Frees the outputs of a tfjs kernel that fails: memory may run out at its second output, and tfjs
 * does not know any of them before the kernel has returned.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";

/** The outputs so far of the kernel that runs now; null while none runs. */
let made: tf.DataId[] | null = null;

/** Call it for each output of a kernel: a new tensor, or one more reference to a tensor. */
export function recordOutput(dataId: tf.DataId): void {
  made?.push(dataId);
}

/** Call it for each tensor that a kernel frees itself. */
export function forgetOutput(dataId: tf.DataId): void {
  const place = made?.lastIndexOf(dataId) ?? -1;
  if (place >= 0) made!.splice(place, 1);
}

/** A kernel that frees its outputs if it fails. */
export function freeingOnFailure(kernelFunc: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const before = made;
    const outputs: tf.DataId[] = made = [];
    try {
      return kernelFunc(call);
    } catch (error) {
      made = null;
      const backend = call.backend as tf.KernelBackend;
      for (const dataId of outputs) backend.disposeData(dataId);
      throw error;
    } finally {
      made = before;
    }
  };
}
