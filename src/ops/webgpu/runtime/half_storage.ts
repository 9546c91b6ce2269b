/**
 * Which float32 tensors hold their values in 16 bits on the device. Their values are numbers of a
 * 16-bit format, so nothing is lost; to tfjs they are float32 tensors like all others. Kernels that
 * know the storage read the words; before any other reader, the values are widened in place
 * (`GpuLaunch.buffer`).
 *
 * Two numbers share a word, the first in the lower half, and rows are whole groups of four numbers.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type HalfFileFormat, PACKED_FORMATS } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import { elementCount } from "../../../element_count.ts";
import { cachedProgram, type Program } from "./program.ts";
import type { TfjsWebgpuBackend } from "./tfjs_backend.ts";

const formats = new WeakMap<tf.DataId, HalfFileFormat>();

/** The format that a tensor's values are stored in; undefined: float32. */
export function storedFormat(
  { dataId }: Pick<tf.TensorInfo, "dataId">,
): HalfFileFormat | undefined {
  return formats.get(dataId);
}

/** The same by the name of the 16-bit pass; null: float32. */
export function halfOf(tensor: Pick<tf.TensorInfo, "dataId">): HalfFormat | null {
  const format = storedFormat(tensor);
  return format === undefined ? null : format === "BF16" ? "bf16" : "fp16";
}

/** Bytes of a tensor's values on the device. */
export function bytesOf(tensor: Pick<tf.TensorInfo, "dataId" | "shape">): number {
  return (storedFormat(tensor) === undefined ? 4 : 2) * elementCount(tensor.shape);
}

/** Whether a tensor's values are stored in that format. */
export function isStoredIn(tensor: Pick<tf.TensorInfo, "dataId">, format: HalfFormat): boolean {
  return storedFormat(tensor) === PACKED_FORMATS[format];
}

/** Whether a tensor of that shape can be stored in 16 bits: rows are read four numbers at a time. */
export function canStoreHalf(shape: readonly number[]): boolean {
  return shape.length > 0 && shape[shape.length - 1] % 4 === 0 && !shape.includes(0);
}

/** Lanes of a workgroup of {@linkcode widenWordsProgram}. */
export const WIDEN_WORKGROUP = 256;

/** Widens words four numbers at a time. */
export function widenWordsProgram(format: HalfFileFormat | "Q8"): Program {
  return cachedProgram(`unpack ${format}`, () => ({
    bindings: [
      { name: "words", type: format },
      { name: "out", type: "vec4<f32>", write: true },
    ],
    parameters: { count: "u32" },
    workgroup: WIDEN_WORKGROUP,
    body: `
      if (index >= p.count) { return; }
      out[index] = load_words(index);`,
  }));
}

/** A new tensor whose values are stored in 16 bits and undefined. */
export function makeStored(
  backend: TfjsWebgpuBackend,
  shape: readonly number[],
  half: HalfFormat,
): tf.TensorInfo {
  const info = backend.makeTensorInfo([...shape], "float32");
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = backend.bufferManager.acquireBuffer(2 * elementCount(shape), usage);
  backend.tensorMap.get(info.dataId).resource = buffer;
  formats.set(info.dataId, PACKED_FORMATS[half]);
  return info;
}

/**
 * Makes a stored tensor a float32 one with undefined values, for a kernel that writes it from the
 * words it had.
 *
 * @returns the words; they stay until the commands recorded so far have been submitted
 */
export function takeWords(
  backend: TfjsWebgpuBackend,
  { dataId }: Pick<tf.TensorInfo, "dataId">,
): { readonly buffer: GPUBuffer; readonly format: HalfFileFormat } {
  const format = formats.get(dataId)!;
  const data = backend.tensorMap.get(dataId);
  const buffer = data.resource!;
  formats.delete(dataId);
  data.resource = null;
  try {
    backend.uploadToGPU(dataId);
  } catch (error) {
    data.resource = buffer;
    formats.set(dataId, format);
    throw error;
  }
  backend.uniformPendingDisposal.push(buffer); // back to the pool after the next submission
  return { buffer, format };
}

/**
 * Makes tfjs's own kernels, and readings, find float32 values in every float32 tensor: it uploads a
 * tensor before it reads it, and this widens stored ones then.
 *
 * @param widen dispatches the program on words and values
 */
export function widenForOthers(
  backend: TfjsWebgpuBackend,
  widen: (program: Program, buffers: readonly GPUBuffer[], count: number) => void,
): void {
  const upload = backend.uploadToGPU.bind(backend);
  const read = backend.read.bind(backend);
  const readSync = backend.readSync.bind(backend);
  backend.uploadToGPU = (dataId) => {
    const format = formats.get(dataId);
    if (format === undefined) return upload(dataId);
    const { buffer } = takeWords(backend, { dataId });
    backend.commandQueueOwnedIds.add(dataId);
    const { shape, resource } = backend.tensorMap.get(dataId);
    widen(widenWordsProgram(format), [buffer, resource!], elementCount(shape) / 4);
  };
  backend.read = (dataId) => {
    if (formats.has(dataId)) backend.uploadToGPU(dataId);
    return read(dataId);
  };
  backend.readSync = (dataId) => {
    if (formats.has(dataId)) backend.uploadToGPU(dataId);
    return readSync(dataId);
  };
}
