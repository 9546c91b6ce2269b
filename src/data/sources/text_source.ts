/**
 * Rows out of a text file whose records can be found one after the other. It keeps the place of
 * about every 256 KiB, so that any row is near one and memory does not grow with the file.
 *
 * @module
 */
import { basename } from "node:path";
import { BlockCache } from "./block_cache.ts";
import { DataError } from "../data_error.ts";
import { fileSize, localFolder } from "./local_file.ts";
import type { DataFolder, PlacedRow, Row } from "../rows/row.ts";
import { type RowSource, SOURCE_CACHE_BYTES } from "./row_source.ts";

/** A place between two records. */
export interface TextMark {
  /** Bytes before it. */
  readonly offset: number;
  /** The line that starts here, from 1. */
  readonly line: number;
}

/** One record. */
export interface TextRecord {
  /** Parses it. */
  readonly row: () => Row;
  /** Its first line, from 1. */
  readonly line: number;
  /** The place after it. */
  readonly next: TextMark;
}

/** Finds the records between two places of a file. */
export type ReadRecords = (
  path: string,
  from: TextMark,
  endOffset: number,
) => AsyncGenerator<TextRecord>;

interface Block extends TextMark {
  readonly row: number;
}

/** Decoded rows weigh more than their text; parsed blocks are counted at this many times it. */
const DECODED_WEIGHT = 3;
const BLOCK_BYTES = 256 * 1024;
/** How many rows are looked at to learn the columns. */
const COLUMN_ROWS = 100;

/** A `.jsonl` or `.csv` file. */
export class TextSource implements RowSource {
  readonly name: string;
  readonly columns: readonly string[];
  readonly #path: string;
  readonly #bytes: number;
  readonly #start: TextMark;
  readonly #readRecords: ReadRecords;
  readonly #folder: DataFolder;
  readonly #cache = new BlockCache<PlacedRow[]>(SOURCE_CACHE_BYTES);
  #index: Promise<{ blocks: readonly Block[]; rows: number }> | null = null;

  private constructor(
    path: string,
    bytes: number,
    start: TextMark,
    columns: readonly string[],
    readRecords: ReadRecords,
    folder: DataFolder,
  ) {
    this.name = basename(path);
    this.#path = path;
    this.#bytes = bytes;
    this.#start = start;
    this.columns = columns;
    this.#readRecords = readRecords;
    this.#folder = folder;
  }

  /**
   * Opens a file and looks at its first rows.
   *
   * @param path the file
   * @param start where its first record is
   * @param readRecords finds records
   * @param columns names, if the file has a header
   * @throws {DataError} if it is missing, has no rows, or starts with something else
   */
  static async open(
    path: string,
    start: TextMark,
    readRecords: ReadRecords,
    columns: readonly string[] | null,
    folder?: DataFolder,
  ): Promise<TextSource> {
    const bytes = await fileSize(path);
    const names = new Set(columns ?? []);
    let rows = 0;
    for await (const record of readRecords(path, start, bytes)) {
      for (const name of Object.keys(record.row())) names.add(name);
      if (++rows >= COLUMN_ROWS || record.next.offset > BLOCK_BYTES) break;
    }
    if (rows === 0) throw new DataError(`Cannot read ${path}: it has no rows (${bytes} bytes)`);
    return new TextSource(path, bytes, start, [...names], readRecords, folder ?? localFolder(path));
  }

  async countRows(): Promise<number> {
    return (await this.#scan()).rows;
  }

  async *rows(start: number, end: number): AsyncGenerator<PlacedRow> {
    let from: Block = { ...this.#start, row: 0 };
    if (start > 0 && this.#index !== null) {
      const { blocks } = await this.#index;
      from = blocks[blockOf(blocks, start)] ?? from;
    }
    let row = from.row;
    if (row >= end) return;
    for await (const record of this.#readRecords(this.#path, from, this.#bytes)) {
      if (row >= start) yield this.#place(record);
      if (++row >= end) return;
    }
  }

  async get(index: number): Promise<PlacedRow> {
    const { blocks, rows } = await this.#scan();
    if (index < 0 || index >= rows) {
      throw new RangeError(`Cannot read row ${index} of ${this.name}: it has ${rows} rows`);
    }
    const number = blockOf(blocks, index);
    const block = blocks[number];
    const endOffset = blocks[number + 1]?.offset ?? this.#bytes;
    const weight = (endOffset - block.offset) * DECODED_WEIGHT;
    const held = await this.#cache.get(number, weight, async () => {
      const read: PlacedRow[] = [];
      for await (const record of this.#readRecords(this.#path, block, endOffset)) {
        read.push(this.#place(record));
      }
      return read;
    });
    const placed = held[index - block.row];
    if (placed === undefined) {
      throw new DataError(`Cannot read row ${index} of ${this.#path}: the file changed meanwhile`);
    }
    return placed;
  }

  #place(record: TextRecord): PlacedRow {
    return {
      row: record.row(),
      place: `${this.name} line ${record.line}`,
      folder: this.#folder,
    };
  }

  #scan(): Promise<{ blocks: readonly Block[]; rows: number }> {
    this.#index ??= (async () => {
      const blocks: Block[] = [{ ...this.#start, row: 0 }];
      let rows = 0;
      let next: TextMark = this.#start;
      for await (const record of this.#readRecords(this.#path, this.#start, this.#bytes)) {
        if (next.offset - blocks[blocks.length - 1].offset >= BLOCK_BYTES) {
          blocks.push({ ...next, row: rows });
        }
        next = record.next;
        rows++;
      }
      return { blocks, rows };
    })();
    return this.#index;
  }
}

/** The last block that starts at or before a row. */
function blockOf(blocks: readonly Block[], row: number): number {
  let low = 0, high = blocks.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (blocks[middle].row <= row) low = middle;
    else high = middle - 1;
  }
  return low;
}
