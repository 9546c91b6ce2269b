/**
 * The header of a safetensors file: eight bytes of length, then JSON with the place of each
 * tensor. Everything in it is checked against the file's size.
 *
 * Source: https://huggingface.co/docs/safetensors and the checks of its Rust reader.
 *
 * @module
 */

/** Element types, in the order in which Python's writer sorts them (the widest first). */
export const SAFETENSORS_DTYPES = [
  "U64",
  "I64",
  "F64",
  "F32",
  "U32",
  "I32",
  "BF16",
  "F16",
  "U16",
  "I16",
  "I8",
  "U8",
  "BOOL",
] as const;

/** An element type of a safetensors file. */
export type SafetensorsDtype = typeof SAFETENSORS_DTYPES[number];

/** Bytes an element takes. */
export const BYTES_PER_ELEMENT: Readonly<Record<SafetensorsDtype, number>> = {
  U64: 8,
  I64: 8,
  F64: 8,
  F32: 4,
  U32: 4,
  I32: 4,
  BF16: 2,
  F16: 2,
  U16: 2,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** The longest header that any reader of the format takes. */
export const MAX_HEADER_BYTES = 100_000_000;

/**
 * A weights file that cannot be read or written; the message names file, tensor, got and wanted.
 */
export class SafetensorsError extends Error {
  override name = "SafetensorsError";
}

/** Position of one tensor in the file. */
export interface TensorEntry {
  /** Name inside the file. */
  name: string;
  /** How the elements are stored. */
  dtype: SafetensorsDtype;
  /** Row-major dims; empty for a scalar. */
  shape: number[];
  /** First byte, counted from the start of the data. */
  begin: number;
  /** One past the last byte. */
  end: number;
}

/** What a header says. */
export interface SafetensorsHeader {
  /** Tensors by name, in the order of their bytes. */
  entries: Map<string, TensorEntry>;
  /** `__metadata__`: strings by name. */
  metadata: Record<string, string>;
  /** Offset of the data in the file. */
  dataStart: number;
}

/** Finds a key that the outermost object has twice; `JSON.parse` silently keeps the last. */
function duplicateKey(json: string): string | null {
  const seen = new Set<string>();
  let depth = 0;
  let isKey = false;
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (c === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === "\\" ? 2 : 1;
      if (depth === 1 && isKey) {
        const key: unknown = JSON.parse(json.slice(start, i + 1));
        if (typeof key === "string") {
          if (seen.has(key)) return key;
          seen.add(key);
        }
        isKey = false;
      }
    } else if (c === "{" || c === "[") {
      depth++;
      isKey = depth === 1;
    } else if (c === "}" || c === "]") depth--;
    else if (c === "," && depth === 1) isKey = true;
  }
  return null;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return (SAFETENSORS_DTYPES as readonly unknown[]).includes(value);
}

/** Checks one tensor's record on its own; `fail` throws with the file's and tensor's names. */
function parseEntry(name: string, value: unknown, fail: (what: string) => never): TensorEntry {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    fail(`its header record is ${JSON.stringify(value)}, want {dtype, shape, data_offsets}`);
  }
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  if (!isDtype(dtype)) {
    fail(`its dtype is ${JSON.stringify(dtype)}, want one of ${SAFETENSORS_DTYPES.join(", ")}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    fail(`its shape is ${JSON.stringify(shape)}, want a list of integers from 0 to 2^53`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    fail(`its data_offsets are ${JSON.stringify(offsets)}, want [begin, end] within the file`);
  }
  const [begin, end]: number[] = offsets;
  const dims: number[] = shape;
  let bytes = BYTES_PER_ELEMENT[dtype];
  for (const dim of dims) {
    bytes *= dim;
    if (!Number.isSafeInteger(bytes)) {
      fail(`its shape ${JSON.stringify(dims)} asks for more bytes than any file has`);
    }
  }
  if (end - begin !== bytes) {
    fail(
      `shape ${JSON.stringify(dims)} of ${dtype} needs ${bytes} bytes, ` +
        `but data_offsets [${begin}, ${end}] hold ${end - begin}`,
    );
  }
  return { name, dtype, shape: dims, begin, end };
}

/**
 * Parses and checks a header.
 *
 * @param bytes the JSON, without its length
 * @param fileBytes size of the whole file
 * @param path for messages
 * @throws {SafetensorsError} if the header is no JSON object, names a tensor twice, or its
 * tensors overlap, leave holes, or reach beyond the file
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileBytes: number,
  path: string,
): SafetensorsHeader {
  const failFile = (what: string): never => {
    throw new SafetensorsError(`Cannot read ${path}: ${what}; get the file again`);
  };
  let json: string;
  let parsed: unknown;
  try {
    json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return failFile("its header is not UTF-8, so this is no safetensors file");
  }
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return failFile(`its header is not JSON (${reason}), so this is no safetensors file`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    return failFile("its header is not a JSON object");
  }
  const twice = duplicateKey(json);
  if (twice !== null) return failFile(`its header names ${JSON.stringify(twice)} twice`);

  const dataStart = 8 + bytes.length;
  const dataBytes = fileBytes - dataStart;
  const metadata: Record<string, string> = {};
  const list: TensorEntry[] = [];
  for (const [name, value] of Object.entries(parsed)) {
    if (name === "__metadata__") {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        return failFile("its __metadata__ is not an object of strings");
      }
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== "string") return failFile(`its __metadata__.${key} is not a string`);
        metadata[key] = text;
      }
      continue;
    }
    list.push(parseEntry(name, value, (what) => failFile(`tensor ${name}: ${what}`)));
  }
  list.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  let previous = "the start of the data";
  for (const entry of list) {
    if (entry.begin < position) {
      failFile(
        `tensor ${entry.name} starts at byte ${entry.begin} and overlaps ${previous}, ` +
          `which ends at ${position}`,
      );
    }
    if (entry.begin > position) {
      failFile(
        `${entry.begin - position} bytes lie unclaimed between ${previous} and ${entry.name}`,
      );
    }
    if (entry.end > dataBytes) {
      failFile(
        `tensor ${entry.name} ends at byte ${entry.end} of the data, ` +
          `but the file has only ${dataBytes} (it is cut short, or its header lies)`,
      );
    }
    position = entry.end;
    previous = `tensor ${entry.name}`;
  }
  if (position !== dataBytes) {
    failFile(`its header accounts for ${position} bytes of data, but ${dataBytes} are there`);
  }
  return { entries: new Map(list.map((entry) => [entry.name, entry])), metadata, dataStart };
}
