/**
 * Text files are UTF-8, or refused with the place of the first byte that is not.
 *
 * @module
 */
import { DataError } from "../data_error.ts";

const CHUNK_BYTES = 1 << 20;

/** Where some bytes stand, for messages. */
export interface BytesPlace {
  readonly path: string;
  /** Bytes of the file before them. */
  readonly offset: number;
  /** The line that they begin in, from 1. */
  readonly line: number;
}

/**
 * Bytes as text; a byte-order mark is left out.
 *
 * @throws {DataError} if they are not UTF-8; the message names the byte, its line and the encoding
 */
export function decodeUtf8(bytes: Uint8Array, at: BytesPlace): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw notUtf8(bytes, firstInvalid(bytes), at);
  }
}

/**
 * Reads a file once to see that it is UTF-8.
 *
 * @throws {DataError} as `decodeUtf8`
 */
export async function checkUtf8(path: string): Promise<void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  using file = await Deno.open(path, { read: true });
  let offset = 0, line = 1;
  // The last bytes of a chunk may begin a character that the next one ends.
  let before = new Uint8Array(0);
  for (;;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const got = await file.read(chunk);
    const bytes = new Uint8Array(before.length + (got ?? 0));
    bytes.set(before);
    if (got !== null) bytes.set(chunk.subarray(0, got), before.length);
    const end = got === null ? bytes.length : wholeCharacters(bytes);
    const whole = bytes.subarray(0, end);
    try {
      decoder.decode(whole);
    } catch {
      throw notUtf8(whole, firstInvalid(whole), { path, offset, line });
    }
    if (got === null) return;
    offset += end;
    for (const byte of whole) if (byte === 0x0a) line++;
    before = bytes.slice(end);
  }
}

/** How many bytes belong to characters that are complete. */
function wholeCharacters(bytes: Uint8Array): number {
  let end = bytes.length;
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      if (length > back) end = bytes.length - back;
      break;
    }
    if (byte < 0x80) break;
  }
  return end;
}

/** Index of the first byte that does not belong to a character. */
function firstInvalid(bytes: Uint8Array): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let low = 0, high = bytes.length;
  // The longest start that may still become text.
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    try {
      decoder.decode(bytes.subarray(0, middle), { stream: true });
      low = middle;
    } catch {
      high = middle - 1;
    }
    try {
      decoder.decode(); // forgets what it waits for
    } catch {
      // an incomplete character
    }
  }
  // A character may have begun before the byte at which it fails.
  while (low > 0 && (bytes[low - 1] & 0xc0) === 0x80) low--;
  return low > 0 && bytes[low - 1] >= 0xc0 ? low - 1 : Math.min(low, bytes.length - 1);
}

function notUtf8(bytes: Uint8Array, index: number, { path, offset, line }: BytesPlace): DataError {
  const at = offset + index;
  for (let i = 0; i < index; i++) if (bytes[i] === 0x0a) line++;
  const byte = bytes[index].toString(16).padStart(2, "0");
  const isUtf16 = offset === 0 && bytes.length > 1 &&
    ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff));
  const from = isUtf16 ? "UTF-16" : "WINDOWS-1252";
  return new DataError(
    `Cannot read ${path} line ${line}: byte ${at} (0x${byte}) is not UTF-8, want UTF-8; ` +
      `convert it, for instance with iconv -f ${from} -t UTF-8`,
  );
}
