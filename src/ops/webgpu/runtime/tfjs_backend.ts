/**
 * The parts of tfjs's WebGPU backend (4.22) that our kernels work with: its buffers and its command
 * encoder, so that our dispatches and tfjs's run in the order of the calls.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";

/** tfjs's record of a tensor on the device. */
interface TensorData {
  resource: GPUBuffer | null;
  refCount: number;
  readonly shape: number[];
  /** The host's copy of the last reading. */
  values: Float32Array | Int32Array | null;
}

/** tfjs's pool of buffers. */
interface BufferManager {
  acquireBuffer(
    size: number,
    usage: number,
    mappedAtCreation?: boolean,
    reuse?: boolean,
  ): GPUBuffer;
  readonly numBytesUsed: number;
  readonly numBytesAllocated: number;
}

/** The parts of tfjs's WebGPU backend that are used. */
export interface TfjsWebgpuBackend {
  readonly device: GPUDevice;
  readonly tensorMap: { get(dataId: tf.DataId): TensorData };
  readonly bufferManager: BufferManager;
  readonly commandQueueOwnedIds: WeakSet<tf.DataId>;
  readonly uniformPendingDisposal: GPUBuffer[];
  readonly commandEncoder: GPUCommandEncoder;
  computePassEncoder: GPUComputePassEncoder | null;
  dispatchCountInPass: number;
  makeTensorInfo(
    shape: number[],
    dtype: tf.DataType,
    values?: Float32Array | Int32Array,
  ): tf.TensorInfo;
  uploadToGPU(dataId: tf.DataId): void;
  read(dataId: tf.DataId): Promise<tf.backend_util.TypedArray>;
  readSync(dataId: tf.DataId): tf.backend_util.TypedArray;
  disposeData(dataId: tf.DataId, force?: boolean): boolean;
  refCount(dataId: tf.DataId): number;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  /** Dispatches a program of tfjs's own. */
  recordAndSubmit(
    program: object,
    output: tf.TensorInfo,
    inputs: tf.TensorInfo[],
    uniforms?: unknown,
  ): void;
}
