import { basename } from "node:path";
import { DataError } from "../data_error.ts";
import { asRow, openJsonLines } from "./json_lines_source.ts";
import { parseJson } from "./json_text.ts";
import { decodeUtf8 } from "./utf8.ts";
import { fileSize, localFolder, readFileRange } from "./local_file.ts";
import { MemorySource } from "./memory_source.ts";
import type { DataFolder } from "../rows/row.ts";
import type { RowSource } from "./row_source.ts";

/** A whole document is parsed in memory; above this it has to be JSON lines. */
const MAX_BYTES = 400 * 2 ** 20;

/**
 * Opens a `.json` file: an array of objects, `{"data": […]}`, or JSON lines under that name.
 *
 * @throws {DataError} if it is missing, too large, or none of these
 */
export async function openJson(path: string, folder?: DataFolder): Promise<RowSource> {
  const size = await fileSize(path);
  if (size === 0) throw new DataError(`Cannot read ${path}: the file is empty`);
  const head = new TextDecoder().decode(await readFileRange(path, 0, Math.min(size, 4096)));
  const first = head.trimStart()[0];
  if (first !== "[" && first !== "{") {
    throw new DataError(
      `Cannot read ${path}: want a JSON array of rows or {"data": […]}, got ${
        JSON.stringify(head.slice(0, 30))
      }`,
    );
  }
  if (first === "{" && await startsWithWholeLine(path, size)) {
    return await openJsonLines(path, folder);
  }
  if (size > MAX_BYTES) {
    throw new DataError(
      `Cannot read ${path}: ${size} bytes are too many for one JSON document (limit ${MAX_BYTES}); ` +
        `write one object a line and call it .jsonl`,
    );
  }
  const text = decodeUtf8(await readFileRange(path, 0, size), { path, offset: 0, line: 1 });
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw new DataError(
      `Cannot read ${path}: it is not JSON: ${
        error instanceof Error ? error.message : String(error)
      }`,
      { cause: error },
    );
  }
  const rows = Array.isArray(value) ? value : rowsOf(value);
  if (rows === null) {
    throw new DataError(
      `Cannot read ${path}: want a JSON array of rows or {"data": […]}, got an object with ${
        Object.keys(value as Record<string, unknown>).join(", ") || "no keys"
      }`,
    );
  }
  return new MemorySource(
    basename(path),
    rows.map((row, i) => asRow(row, `${path} row ${i}`)),
    folder ?? localFolder(path),
  );
}

/** Whether the first line is an object of its own and more follows, or it is the only row. */
async function startsWithWholeLine(path: string, size: number): Promise<boolean> {
  const text = new TextDecoder().decode(await readFileRange(path, 0, Math.min(size, 4 << 20)));
  const line = text.trimStart().split("\n", 1)[0];
  try {
    return rowsOf(parseJson(line)) === null;
  } catch {
    return false;
  }
}

/** The list under `data`, or under the only key there is. */
function rowsOf(value: unknown): unknown[] | null {
  if (typeof value !== "object" || value === null) return null;
  const record = value as Record<string, unknown>;
  const keys = Object.keys(record);
  const list = record.data ?? (keys.length === 1 ? record[keys[0]] : null);
  return Array.isArray(list) && list.every((row) => typeof row === "object") ? list : null;
}
