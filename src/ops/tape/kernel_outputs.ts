/**
 * What a tfjs kernel makes, freed where it fails: memory may run out at its second output, and tfjs
 * knows of none before all are there.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";

/** What the kernel that runs now has made so far; null while none runs. */
let made: tf.DataId[] | null = null;

/** To be told of what a kernel makes: a new tensor, or one more reference to one. */
export function recordOutput(dataId: tf.DataId): void {
  made?.push(dataId);
}

/** To be told of what a kernel frees itself. */
export function forgetOutput(dataId: tf.DataId): void {
  const place = made?.lastIndexOf(dataId) ?? -1;
  if (place >= 0) made!.splice(place, 1);
}

/** A kernel that frees what it has made where it fails. */
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
