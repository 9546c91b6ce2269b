/**
 * Writes safetensors files tensor by tensor, byte for byte as Python's writer would.
 *
 * @module
 */

import { writeFileAtomically } from "../../atomic_write.ts";
import { elementCount } from "../../element_count.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../ops/half/half_precision.ts";
import {
  BYTES_PER_ELEMENT,
  SAFETENSORS_DTYPES,
  type SafetensorsDtype,
  SafetensorsError,
} from "./header.ts";
import type { HostData } from "./reader.ts";

/** A tensor to write. */
export interface TensorToWrite {
  /** Name inside the file. */
  name: string;
  /** Row-major dims; empty for a scalar. */
  shape: readonly number[];
  /** How to store it. Default: the file's `dtype` for floats, else what `data` holds. */
  dtype?: SafetensorsDtype;
  /**
   * The elements, or a function that makes them just before they are written. float32 is rounded to
   * F16 and BF16; a Uint16Array under F16 or BF16 holds the bits already.
   */
  data: HostData | (() => HostData | Promise<HostData>);
}

/** Choices for a whole file. */
export interface SafetensorsWriteOptions {
  /** `__metadata__`; not written if absent. */
  metadata?: Readonly<Record<string, string>>;
  /** Default type for floats; F32 if absent. */
  dtype?: "F32" | "F16" | "BF16";
}

/** A tensor with its place in the file. */
interface PlacedTensor extends TensorToWrite {
  dtype: SafetensorsDtype;
  begin: number;
  end: number;
}

function dtypeOf(tensor: TensorToWrite, options: SafetensorsWriteOptions): SafetensorsDtype {
  if (tensor.dtype !== undefined) return tensor.dtype;
  const { data } = tensor;
  if (typeof data === "function" || data instanceof Float32Array) return options.dtype ?? "F32";
  if (data instanceof Int32Array) return "I32";
  if (data instanceof Uint32Array) return "U32";
  if (data instanceof Int16Array) return "I16";
  if (data instanceof Uint16Array) return "U16";
  if (data instanceof Int8Array) return "I8";
  if (data instanceof Uint8Array) return "U8";
  return data instanceof BigInt64Array ? "I64" : "U64";
}

/** Orders tensors as Python's writer does, widest type first, then by name, and places them. */
function place(tensors: Iterable<TensorToWrite>, options: SafetensorsWriteOptions): PlacedTensor[] {
  const placed = [...tensors].map((tensor) => ({
    ...tensor,
    dtype: dtypeOf(tensor, options),
    begin: 0,
    end: 0,
  }));
  const rank = (dtype: SafetensorsDtype): number => SAFETENSORS_DTYPES.indexOf(dtype);
  placed.sort((a, b) => rank(a.dtype) - rank(b.dtype) || (a.name < b.name ? -1 : 1));
  let position = 0;
  for (const tensor of placed) {
    tensor.begin = position;
    position += elementCount(tensor.shape) * BYTES_PER_ELEMENT[tensor.dtype];
    tensor.end = position;
  }
  return placed;
}

function encodeHeader(
  placed: readonly PlacedTensor[],
  options: SafetensorsWriteOptions,
): Uint8Array {
  // A Map's entries, since an object would put names such as "1" first.
  const parts: string[] = [];
  if (options.metadata !== undefined) {
    parts.push(`"__metadata__":${JSON.stringify(options.metadata)}`);
  }
  for (const { name, dtype, shape, begin, end } of placed) {
    parts.push(
      `${JSON.stringify(name)}:` +
        JSON.stringify({ dtype, shape, data_offsets: [begin, end] }),
    );
  }
  const json = new TextEncoder().encode(`{${parts.join(",")}}`);
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  return padded;
}

const CHUNK_ELEMENTS = 1 << 20;

function bytesOf(data: HostData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The stored bytes of a tensor, a chunk at a time. */
function* encodeChunks(
  data: HostData,
  dtype: SafetensorsDtype,
  fail: (what: string) => never,
): Generator<Uint8Array> {
  const narrow = dtype === "F16" || dtype === "BF16";
  if (!(data instanceof Float32Array) || dtype === "F32") {
    const width = data.BYTES_PER_ELEMENT;
    const floats = dtype === "F32" || dtype === "F64";
    if (width !== BYTES_PER_ELEMENT[dtype] || floats !== data instanceof Float32Array) {
      fail(`it holds ${data.constructor.name}, which cannot be stored as ${dtype}`);
    }
    yield bytesOf(data);
    return;
  }
  if (!narrow && dtype !== "F64") fail(`it holds floats, which cannot be stored as ${dtype}`);
  for (let first = 0; first < data.length; first += CHUNK_ELEMENTS) {
    const part = data.subarray(first, first + CHUNK_ELEMENTS);
    if (dtype === "F16") yield bytesOf(float32ToFloat16(part));
    else if (dtype === "BF16") yield bytesOf(float32ToBfloat16(part));
    else yield new Uint8Array(new Float64Array(part).buffer);
  }
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}

/**
 * Writes a temporary file beside the path, syncs and renames it. Tensors are made and written one
 * at a time, in the order in which they lie in the file.
 *
 * @param path of the new file
 * @param tensors in any order
 * @returns the bytes of data written, without the header
 * @throws {SafetensorsError} if a name comes twice, or elements and shape or type disagree
 * @throws {SaveError} if the disk is full, read-only or forbidden
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  options: SafetensorsWriteOptions = {},
): Promise<number> {
  const placed = place(tensors, options);
  const names = new Set<string>();
  for (const { name } of placed) {
    if (names.has(name) || name === "__metadata__") {
      throw new SafetensorsError(`Cannot write ${path}: two tensors are named ${name}`);
    }
    names.add(name);
  }
  await writeFileAtomically(path, async (file) => {
    writeAll(file, encodeHeader(placed, options));
    for (const { name, shape, dtype, data } of placed) {
      const fail = (what: string): never => {
        throw new SafetensorsError(`Cannot write tensor ${name} to ${path}: ${what}`);
      };
      const elements = typeof data === "function" ? await data() : data;
      const wanted = elementCount(shape);
      if (elements.length !== wanted) {
        fail(`shape [${shape}] wants ${wanted} elements, got ${elements.length}`);
      }
      for (const chunk of encodeChunks(elements, dtype, fail)) writeAll(file, chunk);
    }
  });
  return placed.at(-1)?.end ?? 0;
}
