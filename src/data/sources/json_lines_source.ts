import { DataError } from "../data_error.ts";
import { type DataFolder, isStruct, type Row } from "../rows/row.ts";
import { parseJson } from "./json_text.ts";
import { fileSize } from "./local_file.ts";
import { type BytesPlace, decodeUtf8 } from "./utf8.ts";
import { type TextMark, type TextRecord, TextSource } from "./text_source.ts";

const NEWLINE = 0x0a;
const CHUNK_BYTES = 1 << 20;
/** JavaScript's strings end a little above this. */
const MAX_LINE_BYTES = 500 * 2 ** 20;

/**
 * Opens a file of one JSON object a line.
 *
 * @throws {DataError} if it is missing, empty, or a line is not a JSON object
 */
export async function openJsonLines(path: string, folder?: DataFolder): Promise<TextSource> {
  if (await fileSize(path) === 0) throw new DataError(`Cannot read ${path}: the file is empty`);
  return await TextSource.open(path, { offset: 0, line: 1 }, jsonLineRecords, null, folder);
}

/** The lines of a file that are not blank, as rows. */
async function* jsonLineRecords(
  path: string,
  from: TextMark,
  endOffset: number,
): AsyncGenerator<TextRecord> {
  for await (const { bytes, line, offset } of readLines(path, from, endOffset)) {
    if (isBlank(bytes)) continue;
    yield {
      line,
      next: { offset: offset + bytes.length + 1, line: line + 1 },
      row: () => parseLine({ path, offset, line }, bytes),
    };
  }
}

function parseLine(at: BytesPlace, bytes: Uint8Array): Row {
  const { path, line } = at;
  const text = decodeUtf8(bytes, at);
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw new DataError(
      `Cannot read ${path} line ${line}: it is not JSON: ${
        error instanceof Error ? error.message : String(error)
      }`,
      { cause: error },
    );
  }
  return asRow(value, `${path} line ${line}`);
}

/**
 * A parsed JSON value as a row.
 *
 * @throws {DataError} if it is not an object
 */
export function asRow(value: unknown, place: string): Row {
  const row = value as Row;
  if (!isStruct(row)) {
    const got = Array.isArray(value) ? "an array" : value === null ? "null" : `a ${typeof value}`;
    throw new DataError(`Cannot read ${place}: want an object of columns, got ${got}`);
  }
  return row;
}

interface Line {
  readonly bytes: Uint8Array;
  readonly line: number;
  readonly offset: number;
}

/** The lines between two places, read a chunk at a time. */
async function* readLines(
  path: string,
  from: TextMark,
  endOffset: number,
): AsyncGenerator<Line> {
  using file = await Deno.open(path, { read: true });
  if (from.offset > 0) await file.seek(from.offset, Deno.SeekMode.Start);
  let position = from.offset; // of what is read next
  let lineOffset = from.offset;
  let line = from.line;
  let pieces: Uint8Array[] = [];
  let pieceBytes = 0;
  while (position < endOffset) {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, endOffset - position));
    const got = await file.read(chunk);
    if (got === null) break;
    position += got;
    let start = 0;
    for (;;) {
      const newline = chunk.subarray(0, got).indexOf(NEWLINE, start);
      const piece = chunk.subarray(start, newline < 0 ? got : newline);
      pieces.push(piece);
      pieceBytes += piece.length;
      if (newline < 0) break;
      yield { bytes: joined(pieces, pieceBytes), line, offset: lineOffset };
      lineOffset += pieceBytes + 1;
      line++;
      pieces = [];
      pieceBytes = 0;
      start = newline + 1;
    }
    if (pieceBytes > MAX_LINE_BYTES) {
      throw new DataError(
        `Cannot read ${path} line ${line}: it is longer than ${MAX_LINE_BYTES} bytes`,
      );
    }
  }
  if (pieceBytes > 0) yield { bytes: joined(pieces, pieceBytes), line, offset: lineOffset };
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(bytes);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}

function isBlank(bytes: Uint8Array): boolean {
  for (const byte of bytes) {
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  }
  return true;
}
