import { RunFileError } from "./run_file_error.ts";

/**
 * An append-only file of JSON objects, one a line. An incomplete line that a kill or
 * a full disk left is cut off when the file is opened again, so every line can be read.
 */
export class JsonLinesFile<Row extends object> {
  /** Where the file is. */
  readonly path: string;
  readonly #what: string;
  readonly #file: Deno.FsFile;
  #length = 0;

  /**
   * Opens or makes the file.
   *
   * @param path the file; its folder must exist
   * @param what what the rows are, for error messages
   * @param keep asked about each row already there, in order: the file is cut before the first
   *   one for which it is false; default: the file starts empty
   * @throws {RunFileError} if it cannot be read or written
   */
  constructor(path: string, what: string, keep?: (row: Row) => boolean) {
    this.path = path;
    this.#what = what;
    try {
      this.#file = Deno.openSync(path, { read: true, write: true, create: true });
      if (keep !== undefined) this.#length = keptLength(this.#file, keep);
      this.#file.truncateSync(this.#length);
      this.#file.seekSync(this.#length, Deno.SeekMode.Start);
    } catch (error) {
      throw new RunFileError(`open ${what} at`, path, error);
    }
  }

  /**
   * Appends rows, and hands them to the system before it returns.
   *
   * @param rows any number of rows
   * @throws {RunFileError} if they cannot be written; the file then ends where it did before
   */
  append(...rows: readonly Row[]): void {
    if (rows.length === 0) return;
    const bytes = new TextEncoder().encode(rows.map((row) => JSON.stringify(row) + "\n").join(""));
    try {
      for (let done = 0; done < bytes.length;) done += this.#file.writeSync(bytes.subarray(done));
      this.#length += bytes.length;
    } catch (error) {
      this.#file.truncateSync(this.#length);
      this.#file.seekSync(this.#length, Deno.SeekMode.Start);
      throw new RunFileError(`write ${this.#what} to`, this.path, error);
    }
  }

  /** Waits until the rows are on the disk, and closes the file. */
  close(): void {
    try {
      this.#file.syncDataSync();
    } catch (error) {
      throw new RunFileError(`write ${this.#what} to`, this.path, error);
    } finally {
      this.#file.close();
    }
  }
}

/** Bytes up to the first row that is not kept, or to a last line that a kill has torn. */
function keptLength<Row extends object>(file: Deno.FsFile, keep: (row: Row) => boolean): number {
  let kept = 0;
  for (const line of lines(file)) {
    const row = parseRow<Row>(line);
    // A complete line that is not an object was not written by this class: it stays.
    if (row !== null && !keep(row)) break;
    kept += line.length + 1;
  }
  return kept;
}

/** The lines of a file that end in a line break, without it; a piece at a time. */
function* lines(file: Deno.FsFile): Generator<Uint8Array> {
  const piece = new Uint8Array(1 << 20);
  let rest = new Uint8Array(0);
  for (let count = file.readSync(piece); count !== null; count = file.readSync(piece)) {
    const bytes = new Uint8Array(rest.length + count);
    bytes.set(rest);
    bytes.set(piece.subarray(0, count), rest.length);
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      yield bytes.subarray(from, end);
      from = end + 1;
    }
    rest = bytes.slice(from);
  }
}

function parseRow<Row extends object>(line: Uint8Array): Row | null {
  try {
    const row: unknown = JSON.parse(new TextDecoder().decode(line));
    return typeof row === "object" && row !== null && !Array.isArray(row) ? row as Row : null;
  } catch {
    return null;
  }
}
