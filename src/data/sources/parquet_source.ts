/**
 * Rows out of a parquet file, by ranges: the footer is read once, then blocks of rows as they are
 * asked for.
 *
 * @module
 */
import { basename } from "node:path";
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors as allCompressors } from "hyparquet-compressors";
import { BlockCache } from "./block_cache.ts";
import { DataError } from "../data_error.ts";
import { fileSize, localFolder, readFileRange } from "./local_file.ts";
import { shapePlan, unreadableColumns, withLeftOutBytes } from "./parquet_columns.ts";
import { ParquetPages } from "./parquet_pages.ts";
import type { Cell, DataFolder, PlacedRow, Row } from "../rows/row.ts";
import { type RowSource, SOURCE_CACHE_BYTES } from "./row_source.ts";

/** A row group above this is read in several blocks. */
const BLOCK_BYTES = 32 * 2 ** 20;

/** The decompressors, which fail on pages without bytes (hyparquet-compressors 1.1.2, LZ4). */
const compressors = Object.fromEntries(
  Object.entries(allCompressors).map(([name, decompress]) => [
    name,
    (input: Uint8Array, outputLength: number) =>
      outputLength === 0 ? new Uint8Array(0) : decompress!(input, outputLength),
  ]),
);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Texts that are not UTF-8 stay bytes, which no reader takes for text. */
function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  try {
    return utf8.decode(bytes);
  } catch {
    return bytes.slice();
  }
}

/** How hyparquet makes values of bytes. */
const parsers = {
  stringFromBytes: (bytes: Uint8Array | undefined) => bytes && textOrBytes(bytes),
  jsonFromBytes: (bytes: Uint8Array | undefined) => {
    const text = bytes && textOrBytes(bytes);
    try {
      return typeof text === "string" ? JSON.parse(text) : text;
    } catch {
      return text; // not JSON after all: readers say what they want
    }
  },
};

interface Block {
  readonly start: number;
  readonly end: number;
  readonly bytes: number;
}

/** A parquet file. */
export class ParquetSource implements RowSource {
  readonly name: string;
  readonly columns: readonly string[];
  readonly notes: readonly string[];
  readonly #path: string;
  readonly #file: AsyncBuffer;
  readonly #pages: ParquetPages;
  readonly #metadata: FileMetaData;
  readonly #blocks: readonly Block[];
  readonly #folder: DataFolder;
  readonly #cache = new BlockCache<Row[]>(SOURCE_CACHE_BYTES);

  private constructor(
    path: string,
    file: AsyncBuffer,
    pages: ParquetPages,
    metadata: FileMetaData,
    folder: DataFolder,
  ) {
    this.name = basename(path);
    this.#path = path;
    this.#file = file;
    this.#pages = pages;
    this.#metadata = metadata;
    this.#folder = folder;
    const unreadable = unreadableColumns(metadata);
    this.columns = parquetSchema(metadata).children.map((child) => child.element.name)
      .filter((name) => !unreadable.has(name));
    this.notes = [...unreadable].map(([name, reason]) =>
      `column ${name} of ${this.name} is left out: ${reason}`
    );
    const blocks: Block[] = [];
    let row = 0;
    for (const group of metadata.row_groups) {
      const rows = Number(group.num_rows);
      const bytes = Number(group.total_byte_size);
      const parts = Math.min(rows, Math.max(1, Math.ceil(bytes / BLOCK_BYTES)));
      for (let part = 0; part < parts; part++) {
        blocks.push({
          start: row + Math.floor(rows * part / parts),
          end: row + Math.floor(rows * (part + 1) / parts),
          bytes: Math.ceil(bytes / parts),
        });
      }
      row += rows;
    }
    this.#blocks = blocks;
  }

  /**
   * Reads the footer of a parquet file.
   *
   * @param path the file
   * @param folder reads the files that rows name; default: beside the file
   * @throws {DataError} if the file is missing, cut short or not parquet
   */
  static async open(path: string, folder?: DataFolder): Promise<ParquetSource> {
    const byteLength = await fileSize(path);
    const file: AsyncBuffer = {
      byteLength,
      slice: async (start, end = byteLength) =>
        (await readFileRange(path, start < 0 ? byteLength + start : start, end)).buffer,
    };
    if (byteLength === 0) throw new DataError(`Cannot read ${path}: the file is empty`);
    let metadata: FileMetaData;
    try {
      metadata = await parquetMetadataAsync(file);
    } catch (error) {
      throw corrupt(path, byteLength, error);
    }
    let pages: ParquetPages;
    try {
      pages = new ParquetPages(metadata, byteLength);
    } catch (error) {
      throw corrupt(path, byteLength, error);
    }
    const rows = Number(metadata.num_rows);
    const groupRows = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
    if (!Number.isSafeInteger(rows) || rows < 0 || rows !== groupRows) {
      throw corrupt(
        path,
        byteLength,
        new Error(`its footer says ${rows} rows and its row groups ${groupRows}`),
      );
    }
    const row_groups = metadata.row_groups.filter((group) => Number(group.num_rows) > 0);
    return new ParquetSource(
      path,
      file,
      pages,
      { ...metadata, row_groups },
      folder ?? localFolder(path),
    );
  }

  countRows(): Promise<number> {
    return Promise.resolve(Number(this.#metadata.num_rows));
  }

  async *rows(
    start: number,
    end: number,
    columns: readonly string[] = this.columns,
    shapeOnly: readonly string[] = [],
  ): AsyncGenerator<PlacedRow> {
    const wanted = columns.filter((column) => this.columns.includes(column));
    for (const block of this.#blocks) {
      const first = Math.max(start, block.start);
      const last = Math.min(end, block.end);
      if (first >= last) continue;
      const rows = await this.#read(first, last, wanted, shapeOnly);
      for (let i = 0; i < rows.length; i++) yield this.#place(rows[i], first + i);
    }
  }

  async get(index: number): Promise<PlacedRow> {
    let low = 0, high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#blocks[middle].end > index) high = middle;
      else low = middle + 1;
    }
    const block = this.#blocks[low];
    if (block === undefined || index < 0) {
      throw new RangeError(
        `Cannot read row ${index} of ${this.name}: it has ${this.#metadata.num_rows} rows`,
      );
    }
    const rows = await this.#cache.get(
      low,
      block.bytes,
      () => this.#read(block.start, block.end, this.columns),
    );
    return this.#place(rows[index - block.start], index);
  }

  #place(row: Row, index: number): PlacedRow {
    return { row, place: `${this.name} row ${index}`, folder: this.#folder };
  }

  async #read(
    rowStart: number,
    rowEnd: number,
    wanted: readonly string[],
    shapeOnly: readonly string[] = [],
  ): Promise<Row[]> {
    const plan = shapePlan(this.#metadata, shapeOnly.filter((column) => wanted.includes(column)));
    const columns = wanted.filter((column) => !plan.constant.has(column));
    const constant = Object.fromEntries(plan.constant);
    if (columns.length === 0) {
      return Array.from({ length: rowEnd - rowStart }, () => ({ ...constant }));
    }
    let rows: Record<string, unknown>[];
    // hyparquet does not await all its reads: a rejection would end the process. So a read that
    // fails returns nothing, and its reason is kept.
    let failure: unknown = null;
    const file: AsyncBuffer = {
      byteLength: this.#file.byteLength,
      slice: async (start, end) => {
        try {
          const buffer = await this.#file.slice(start, end);
          this.#pages.check(buffer, start);
          return buffer;
        } catch (error) {
          failure ??= error;
          return new ArrayBuffer(0);
        }
      },
    };
    try {
      rows = await parquetReadObjects({
        file,
        metadata: plan.metadata,
        compressors,
        parsers,
        columns,
        rowStart,
        rowEnd,
        // Byte arrays that the schema does not call text stay bytes: pictures.
        utf8: false,
        geoparquet: false,
        useOffsetIndex: true,
      });
    } catch (error) {
      throw corrupt(this.#path, this.#file.byteLength, failure ?? error);
    }
    if (failure !== null) throw corrupt(this.#path, this.#file.byteLength, failure);
    if (rows.length !== rowEnd - rowStart) {
      throw corrupt(
        this.#path,
        this.#file.byteLength,
        new Error(`rows ${rowStart} to ${rowEnd} gave ${rows.length}`),
      );
    }
    return rows.map((row) => {
      const cells: Record<string, Cell> = { ...constant };
      for (const [name, value] of Object.entries(row)) {
        const cell = toCell(value);
        cells[name] = plan.objects.has(name) ? withLeftOutBytes(cell) : cell;
      }
      return cells;
    });
  }
}

/** Values of hyparquet as cells: int64 as numbers, dates as ISO texts. */
function toCell(value: unknown): Cell {
  if (value === null || value === undefined) return null;
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
    return value;
  }
  if (value instanceof Uint8Array) return value;
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  }
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? null : value.toISOString();
  }
  if (Array.isArray(value)) return value.map(toCell);
  if (ArrayBuffer.isView(value)) {
    return Array.from(value as Float32Array | Int32Array | BigInt64Array, toCell);
  }
  if (typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, cell]) => [name, toCell(cell)]));
  }
  return String(value);
}

function corrupt(path: string, byteLength: number, error: unknown): DataError {
  if (error instanceof DataError) return error;
  // A TypeError or RangeError of the reader says nothing about the file.
  const isAboutFile = error instanceof Error && error.constructor === Error;
  const reason = isAboutFile ? error.message : "its contents are not valid";
  return new DataError(
    `Cannot read ${path}: it is not a complete parquet file (${byteLength} bytes): ${reason}; ` +
      `fetch or write it again`,
    { cause: error },
  );
}
