/**
 * Reads safetensors files tensor by tensor, so that a large file is never in memory
 * twice.
 *
 * @module
 */

import { elementCount } from "../../element_count.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../ops/half/half_precision.ts";
import {
  BYTES_PER_ELEMENT,
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  type SafetensorsDtype,
  SafetensorsError,
  type SafetensorsHeader,
  type TensorEntry,
} from "./header.ts";

/** Elements in memory: every float as float32, 64-bit integers as BigInt, the rest as they are. */
export type HostData =
  | Float32Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor in the host's memory, row-major. */
export interface HostTensor<Data extends HostData = HostData> {
  /** Dims; empty for a scalar. */
  shape: number[];
  /** How the file holds it; F16, BF16 and F64 are float32 in `data` all the same. */
  dtype: SafetensorsDtype;
  /** The elements. */
  data: Data;
}

/** A tensor of floats in the host's memory, row-major float32. */
export type FloatTensor = HostTensor<Float32Array>;

const CHUNK_BYTES = 1 << 20;

/** Fills `out` from a place in the file; seek and read in one go, so that calls do not mix. */
function readExactly(file: Deno.FsFile, at: number, out: Uint8Array): boolean {
  file.seekSync(at, Deno.SeekMode.Start);
  let done = 0;
  while (done < out.length) {
    const count = file.readSync(out.subarray(done));
    if (count === null) return false;
    done += count;
  }
  return true;
}

/** Reads and checks the header of an open file. */
function readHeader(file: Deno.FsFile, path: string): SafetensorsHeader {
  const fileBytes = file.statSync().size;
  const prefix = new Uint8Array(8);
  if (fileBytes < 8 || !readExactly(file, 0, prefix)) {
    throw new SafetensorsError(
      `Cannot read ${path}: it has ${fileBytes} bytes, a safetensors file has at least 10; ` +
        `get the file again`,
    );
  }
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(fileBytes - 8) || length > BigInt(MAX_HEADER_BYTES)) {
    const pointer = new TextDecoder().decode(prefix).startsWith("version ");
    throw new SafetensorsError(
      pointer
        ? `Cannot read ${path}: it is a Git LFS pointer, not the weights; run "git lfs pull"`
        : `Cannot read ${path}: its first 8 bytes claim a header of ${length} bytes, but ` +
          `${fileBytes - 8} follow and ${MAX_HEADER_BYTES} are the most; it is cut short or ` +
          `no safetensors file; get it again`,
    );
  }
  const bytes = new Uint8Array(Number(length));
  if (!readExactly(file, 8, bytes)) {
    throw new SafetensorsError(`Cannot read ${path}: it was cut while its header was read`);
  }
  return parseSafetensorsHeader(bytes, fileBytes, path);
}

/** Opens, or says which file could not be opened and why. */
function openFile(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new SafetensorsError(`Cannot read ${path}: there is no such file`);
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new SafetensorsError(`Cannot read ${path}: ${reason}`, { cause: error });
  }
}

/**
 * Reads a file's header alone.
 *
 * @throws {SafetensorsError} if the file is missing, cut short, or its header lies
 */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  const file = openFile(path);
  try {
    return readHeader(file, path);
  } finally {
    file.close();
  }
}

/**
 * An open safetensors file; tensors are read when asked for. The caller closes it, or declares it
 * with `using`.
 */
export class SafetensorsFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #header: SafetensorsHeader;
  #closed = false;

  private constructor(readonly path: string, file: Deno.FsFile, header: SafetensorsHeader) {
    this.#file = file;
    this.#header = header;
  }

  /**
   * Opens a file and checks its header.
   *
   * @throws {SafetensorsError} if the file is missing, cut short, or its header lies
   */
  static open(path: string): SafetensorsFile {
    const file = openFile(path);
    try {
      return new SafetensorsFile(path, file, readHeader(file, path));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Names, in the order of their bytes. */
  get names(): string[] {
    return [...this.#header.entries.keys()];
  }

  /** `__metadata__`. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#header.metadata;
  }

  /** Whether the file has a tensor of this name. */
  has(name: string): boolean {
    return this.#header.entries.has(name);
  }

  /**
   * Type, shape and place of a tensor, without reading it.
   *
   * @throws {SafetensorsError} if the file has none of that name
   */
  entry(name: string): TensorEntry {
    const entry = this.#header.entries.get(name);
    if (entry === undefined) {
      throw new SafetensorsError(
        `Cannot read ${name} from ${this.path}: it has no such tensor, ` +
          `but ${this.#header.entries.size} others (the first: ${this.names.slice(0, 3)})`,
      );
    }
    return entry;
  }

  #fill(entry: TensorEntry, offset: number, out: Uint8Array): void {
    if (!readExactly(this.#file, this.#header.dataStart + entry.begin + offset, out)) {
      throw new SafetensorsError(
        `Cannot read ${entry.name} from ${this.path}: the file was cut short while it was open`,
      );
    }
  }

  /** The bytes of a tensor as they lie in the file. */
  readRaw(name: string): { dtype: SafetensorsDtype; shape: number[]; bytes: Uint8Array } {
    const entry = this.entry(name);
    const bytes = new Uint8Array(entry.end - entry.begin);
    this.#fill(entry, 0, bytes);
    return { dtype: entry.dtype, shape: [...entry.shape], bytes };
  }

  /** Float elements [first, first + out.length) into `out`, a chunk at a time. */
  #readFloats(entry: TensorEntry, first: number, out: Float32Array): void {
    if (entry.dtype === "F32") {
      this.#fill(entry, first * 4, new Uint8Array(out.buffer, out.byteOffset, out.byteLength));
      return;
    }
    const width = BYTES_PER_ELEMENT[entry.dtype];
    const chunkElements = CHUNK_BYTES / width;
    const chunk = new Uint8Array(Math.min(out.length * width, CHUNK_BYTES));
    for (let done = 0; done < out.length; done += chunkElements) {
      const count = Math.min(chunkElements, out.length - done);
      this.#fill(entry, (first + done) * width, chunk.subarray(0, count * width));
      const part = out.subarray(done, done + count);
      if (entry.dtype === "F16") float16ToFloat32(new Uint16Array(chunk.buffer, 0, count), part);
      else if (entry.dtype === "BF16") {
        bfloat16ToFloat32(new Uint16Array(chunk.buffer, 0, count), part);
      } else part.set(new Float64Array(chunk.buffer, 0, count));
    }
  }

  /**
   * A tensor of floats (F32, F16, BF16 or F64) as float32.
   *
   * @throws {SafetensorsError} if there is none of that name, or it holds no floats
   */
  readFloats(name: string): FloatTensor {
    const entry = this.entry(name);
    if (!["F32", "F16", "BF16", "F64"].includes(entry.dtype)) {
      throw new SafetensorsError(
        `Cannot read ${name} from ${this.path} as floats: it holds ${entry.dtype}`,
      );
    }
    const data = new Float32Array(elementCount(entry.shape));
    this.#readFloats(entry, 0, data);
    return { shape: [...entry.shape], dtype: entry.dtype, data };
  }

  /**
   * A tensor, floats of any width as float32.
   *
   * @throws {SafetensorsError} if there is none of that name
   */
  read(name: string): HostTensor {
    const { dtype } = this.entry(name);
    if (dtype === "F32" || dtype === "F16" || dtype === "BF16" || dtype === "F64") {
      return this.readFloats(name);
    }
    const { shape, bytes } = this.readRaw(name);
    return { shape, dtype, data: integerView(dtype, bytes.buffer as ArrayBuffer) };
  }

  /** Closes the file; a second call does nothing. */
  close(): void {
    if (!this.#closed) this.#file.close();
    this.#closed = true;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function integerView(dtype: SafetensorsDtype, buffer: ArrayBuffer): HostData {
  switch (dtype) {
    case "I64":
      return new BigInt64Array(buffer);
    case "U64":
      return new BigUint64Array(buffer);
    case "I32":
      return new Int32Array(buffer);
    case "U32":
      return new Uint32Array(buffer);
    case "I16":
      return new Int16Array(buffer);
    case "I8":
      return new Int8Array(buffer);
    case "U8":
    case "BOOL":
      return new Uint8Array(buffer);
    default:
      return new Uint16Array(buffer);
  }
}

/**
 * Reads a whole file.
 *
 * @returns tensors by name, in the order of their bytes
 * @throws {SafetensorsError} if the file is missing, cut short, or its header lies
 */
// deno-lint-ignore require-await -- a promise, so that a reader over the network can take its place
export async function readSafetensors(path: string): Promise<Map<string, HostTensor>> {
  using file = SafetensorsFile.open(path);
  return new Map(file.names.map((name) => [name, file.read(name)]));
}
