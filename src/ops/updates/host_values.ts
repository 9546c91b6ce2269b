/**
 * The values of tensors on the backends that keep them in host memory: read and changed without
 * tensors in between, so that an update of a large parameter needs no memory of its size.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { wasmHeap } from "../../device/wasm_heap.ts";

/** The place of a tensor on the wasm heap; null on another backend. */
function onHeap(
  tensor: tf.Tensor,
): { readonly values: Float32Array; readonly own: boolean } | null {
  const heap = tf.getBackend() === "wasm" ? wasmHeap() : null;
  if (heap === null) return null;
  const { memoryOffset, refCount } = heap.backend.dataIdMap.get(tensor.dataId);
  const values = new Float32Array(heap.memory.buffer, memoryOffset, tensor.size);
  return { values, own: refCount === 1 };
}

/**
 * The values of a float32 tensor, to be read at once: the next tensor that is made may move them.
 *
 * @param tensor on the wasm or the cpu backend
 */
export function hostValues(tensor: tf.Tensor): Float32Array {
  return onHeap(tensor)?.values ?? tensor.dataSync() as Float32Array;
}

/**
 * Changes the values of a parameter.
 *
 * @param parameter on the wasm or the cpu backend
 * @param change gets the values and writes the new ones into the same array; makes no tensors
 */
export function changeValues(parameter: tf.Variable, change: (values: Float32Array) => void): void {
  const place = onHeap(parameter);
  if (place?.own) return change(place.values);
  // Another tensor shares the values, or the backend keeps them where they cannot be written.
  const values = (place?.values ?? parameter.dataSync() as Float32Array).slice();
  change(values);
  tf.tidy(() => parameter.assign(tf.tensor(values, parameter.shape)));
}
