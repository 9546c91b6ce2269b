/**
 * The most bytes that tensors held while something ran.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { wordKernels } from "../../ops/fused_kernels.ts";

/** The parts of tfjs's engine that know of tensors' data; two tensors may share it. */
interface CountingEngine {
  readonly state: { readonly tensorInfo: { has(dataId: tf.DataId): boolean } };
  trackTensor(tensor: tf.Tensor, backend: tf.KernelBackend): void;
  removeDataId(dataId: tf.DataId, backend: tf.KernelBackend): void;
}

/**
 * Watches every tensor that is made while `run` runs. What kernels of ours take beside tensors is
 * not counted.
 *
 * @param run is given what tells the bytes that are held right then, beyond what was there before
 * @returns what `run` returned, and the most bytes of data that it held beyond what was there before
 */
export async function peakTensorBytes<T>(
  run: (heldBytes: () => number) => Promise<T>,
): Promise<{ result: T; peakBytes: number }> {
  const engine = tf.engine() as unknown as CountingEngine;
  const { trackTensor, removeDataId } = engine;
  const sizes = new Map<tf.DataId, number>();
  let bytes = 0, peakBytes = 0;
  engine.trackTensor = function (tensor, backend): void {
    if (!this.state.tensorInfo.has(tensor.dataId)) {
      const size = wordKernels()?.bytesOf?.(tensor) ??
        tensor.size * tf.util.bytesPerElement(tensor.dtype);
      sizes.set(tensor.dataId, size);
      bytes += size;
      peakBytes = Math.max(peakBytes, bytes);
    }
    trackTensor.call(this, tensor, backend);
  };
  engine.removeDataId = function (dataId, backend): void {
    bytes -= sizes.get(dataId) ?? 0;
    sizes.delete(dataId);
    removeDataId.call(this, dataId, backend);
  };
  try {
    const result = await run(() => bytes);
    return { result, peakBytes };
  } finally {
    Object.assign(engine, { trackTensor, removeDataId });
  }
}
