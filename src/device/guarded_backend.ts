/**
 * Adds to tfjs's WebGPU backend: a bounded pool of buffers, an error for tensors that the adapter
 * cannot bind, and an end of readings when the device is lost.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { elementCount } from "../element_count.ts";
import { BufferPool } from "./buffer_pool.ts";
import { DeviceLostError } from "./gpu_errors.ts";
import { TensorTooLargeError } from "./out_of_memory.ts";

/** The parts of tfjs's WebGPU backend (4.22) that are replaced or watched. */
export interface GuardableBackend {
  readonly device: GPUDevice;
  readonly tensorMap: {
    get(dataId: tf.DataId): { resource: unknown; shape: number[]; dtype: tf.DataType };
  };
  bufferManager: unknown;
  uploadToGPU(dataId: tf.DataId): void;
  submitQueue(): void;
  read(dataId: tf.DataId): Promise<tf.backend_util.TypedArray>;
}

/**
 * Checks the size of a tensor: in tfjs every element takes four bytes on the device.
 *
 * @throws {TensorTooLargeError}
 */
function checkSize(shape: readonly number[], { limits }: GPUDevice): void {
  const bytes = 4 * elementCount(shape);
  for (const limit of ["maxStorageBufferBindingSize", "maxBufferSize"] as const) {
    if (bytes > limits[limit]) throw new TensorTooLargeError(shape, bytes, limit, limits[limit]);
  }
}

/**
 * Changes a backend in place, before it holds a tensor.
 *
 * @returns the pool of its buffers
 */
export function guardBackend(backend: GuardableBackend): BufferPool {
  const { device } = backend;
  const pool = new BufferPool(device);
  backend.bufferManager = pool;

  const submitQueue = backend.submitQueue.bind(backend);
  backend.submitQueue = () => {
    submitQueue();
    pool.trim(); // Nothing recorded waits now.
  };

  const uploadToGPU = backend.uploadToGPU.bind(backend);
  backend.uploadToGPU = (dataId) => {
    const { resource, shape } = backend.tensorMap.get(dataId);
    if (resource !== null && resource !== undefined) return;
    checkSize(shape, device);
    uploadToGPU(dataId);
  };

  // A pending mapping may never be answered if the device is lost.
  const waiting = new Set<(error: Error) => void>();
  let lost: DeviceLostError | null = null;
  device.lost.then(({ reason, message }) => {
    lost = new DeviceLostError(`${reason}: ${message}`);
    for (const reject of waiting) reject(lost);
    waiting.clear();
  });
  const read = backend.read.bind(backend);
  backend.read = async (dataId) => {
    if (lost !== null) throw lost;
    let giveUp: (error: Error) => void;
    const gone = new Promise<never>((_, reject) => waiting.add(giveUp = reject));
    try {
      return await Promise.race([read(dataId), gone]);
    } finally {
      waiting.delete(giveUp!);
    }
  };
  return pool;
}
