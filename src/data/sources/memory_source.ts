import { DataError, RowSkipped } from "../data_error.ts";
import type { DataFolder, PlacedRow, Row } from "../rows/row.ts";
import type { RowSource } from "./row_source.ts";

/** Rows in memory: a `.json` file, or rows made by code. */
export class MemorySource implements RowSource {
  readonly name: string;
  readonly columns: readonly string[];
  readonly #rows: readonly Row[];
  readonly #folder: DataFolder;

  /**
   * @param name for messages
   * @param rows all of them
   * @param folder reads the files named in rows; default: rows may not name files
   * @throws {DataError} if there are no rows
   */
  constructor(name: string, rows: readonly Row[], folder: DataFolder = noFolder) {
    if (rows.length === 0) throw new DataError(`Cannot read ${name}: it has no rows`);
    this.name = name;
    this.#rows = rows;
    this.#folder = folder;
    this.columns = [...new Set(rows.slice(0, 100).flatMap((row) => Object.keys(row)))];
  }

  countRows(): Promise<number> {
    return Promise.resolve(this.#rows.length);
  }

  async *rows(start: number, end: number): AsyncGenerator<PlacedRow> {
    for (let i = start; i < Math.min(end, this.#rows.length); i++) yield await this.get(i);
  }

  get(index: number): Promise<PlacedRow> {
    const row = this.#rows[index];
    if (row === undefined) {
      throw new RangeError(
        `Cannot read row ${index} of ${this.name}: it has ${this.#rows.length} rows`,
      );
    }
    return Promise.resolve({ row, place: `${this.name} row ${index}`, folder: this.#folder });
  }
}

const noFolder: DataFolder = {
  read(path: string): Promise<Uint8Array> {
    return Promise.reject(
      new RowSkipped(`image file ${path}: rows in memory have no folder to read files from`),
    );
  },
};
