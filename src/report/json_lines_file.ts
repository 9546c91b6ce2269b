import { writeFileAtomically } from "./atomic_file.ts";
import { RunFileError } from "./run_file_error.ts";

/**
 * An append-only file of JSON objects, one a line. What a kill or a full disk leaves behind is
 * mended when the file is opened again, so that every line can always be read.
 */
export class JsonLinesFile<Row extends object> {
  /** Where the file is. */
  readonly path: string;
  /** The rows that were there when the file was opened, and were kept. */
  readonly kept: readonly Row[];
  readonly #what: string;
  readonly #file: Deno.FsFile;
  #length: number;

  /**
   * Opens or makes the file.
   *
   * @param path the file; its folder must exist
   * @param what what the rows are, for error messages
   * @param keep which of the rows already there stay; left out, none do
   * @throws {RunFileError} where it cannot be read or written
   */
  constructor(path: string, what: string, keep?: (row: Row) => boolean) {
    this.path = path;
    this.#what = what;
    try {
      const before = keep === undefined ? "" : readIfThere(path);
      const [kept, text] = keep === undefined ? [[], ""] : keptRows(before, keep);
      this.kept = kept;
      // Mostly what is kept is the file's beginning, and cutting it is enough.
      if (!before.startsWith(text)) writeFileAtomically(path, text, what);
      this.#length = new TextEncoder().encode(text).length;
      this.#file = Deno.openSync(path, { write: true, create: true });
      this.#file.truncateSync(this.#length);
      this.#file.seekSync(this.#length, Deno.SeekMode.Start);
    } catch (error) {
      if (error instanceof RunFileError) throw error;
      throw new RunFileError(`open ${what} at`, path, error);
    }
  }

  /**
   * Appends rows, and hands them to the system before it returns.
   *
   * @param rows any number of rows
   * @throws {RunFileError} where they cannot be written; the file then ends where it did before
   */
  append(...rows: readonly Row[]): void {
    if (rows.length === 0) return;
    const text = rows.map((row) => JSON.stringify(row) + "\n").join("");
    const bytes = new TextEncoder().encode(text);
    try {
      writeAll(this.#file, bytes);
      this.#length += bytes.length;
    } catch (error) {
      this.#file.truncateSync(this.#length);
      this.#file.seekSync(this.#length, Deno.SeekMode.Start);
      throw new RunFileError(`write ${this.#what} to`, this.path, error);
    }
  }

  /** Waits until the rows are on the disk. */
  sync(): void {
    try {
      this.#file.syncDataSync();
    } catch (error) {
      throw new RunFileError(`write ${this.#what} to`, this.path, error);
    }
  }

  /** Closes the file; nothing can be appended then. */
  close(): void {
    this.#file.close();
  }
}

/**
 * Reads a file of JSON lines; lines that are not JSON objects (torn by a kill) are left out.
 *
 * @param path the file
 * @returns its rows; none where there is no file
 * @throws {RunFileError} where it is there and cannot be read
 */
export function readJsonLines<Row extends object>(path: string): Row[] {
  try {
    return keptRows<Row>(readIfThere(path), () => true)[0];
  } catch (error) {
    throw new RunFileError("read", path, error);
  }
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

function keptRows<Row extends object>(text: string, keep: (row: Row) => boolean): [Row[], string] {
  const rows: Row[] = [];
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const row = parseRow<Row>(line);
    if (row === null || !keep(row)) continue;
    rows.push(row);
    lines.push(line + "\n");
  }
  return [rows, lines.join("")];
}

function parseRow<Row extends object>(line: string): Row | null {
  try {
    const row: unknown = JSON.parse(line);
    return typeof row === "object" && row !== null && !Array.isArray(row) ? row as Row : null;
  } catch {
    return null;
  }
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}
