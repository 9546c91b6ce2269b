import { DataError } from "../data_error.ts";
import type { PlacedRow } from "../rows/row.ts";

/** How many bytes of decoded rows a source may keep. */
export const SOURCE_CACHE_BYTES = 128 * 2 ** 20;

/** Rows in order, from a file or several; rows are read when asked for, never all at once. */
export interface RowSource {
  /** What it is, for messages: a file name or a Hub id. */
  readonly name: string;
  /** Column names; of line formats, those of the first rows. */
  readonly columns: readonly string[];
  /** What a user should know about it, such as columns that cannot be read. */
  readonly notes?: readonly string[];
  /** How many rows there are. Line formats look through the file the first time. */
  countRows(): Promise<number>;
  /**
   * Rows from `start` up to `end`, in order, in constant memory.
   *
   * @param columns the only columns needed; a hint, which a source may ignore
   * @param shapeOnly columns of which only the number of pictures is needed: a source may leave
   *   their bytes empty
   */
  rows(
    start: number,
    end: number,
    columns?: readonly string[],
    shapeOnly?: readonly string[],
  ): AsyncGenerator<PlacedRow>;
  /** One row, at random. Call `countRows()` first. */
  get(index: number): Promise<PlacedRow>;
}

/** Ranges of other sources, one after the other. */
export class JoinedSource implements RowSource {
  readonly name: string;
  readonly columns: readonly string[];
  readonly notes: readonly string[];
  readonly #parts: readonly SourceRange[];

  /** @param parts the ranges; each `end` is at most the number of rows of its source, or Infinity */
  constructor(name: string, parts: readonly SourceRange[]) {
    if (parts.length === 0) throw new DataError(`Cannot load ${name}: it has no data files`);
    this.name = name;
    this.#parts = parts;
    this.notes = [...new Set(parts.flatMap((part) => part.source.notes ?? []))];
    this.columns = [...new Set(parts.flatMap((part) => part.source.columns))];
  }

  async countRows(): Promise<number> {
    let total = 0;
    for (const part of this.#parts) total += await rangeLength(part);
    return total;
  }

  async *rows(
    start: number,
    end: number,
    columns?: readonly string[],
    shapeOnly?: readonly string[],
  ): AsyncGenerator<PlacedRow> {
    let from = start;
    let left = end - start;
    for (const part of this.#parts) {
      if (left <= 0) return;
      if (from > 0) {
        const length = await rangeLength(part);
        if (from >= length) {
          from -= length;
          continue;
        }
      }
      const first = part.start + from;
      const last = Math.min(part.end, first + left);
      for await (const row of part.source.rows(first, last, columns, shapeOnly)) {
        yield row;
        left--;
      }
      from = 0;
    }
  }

  async get(index: number): Promise<PlacedRow> {
    let from = index;
    for (const part of this.#parts) {
      const length = await rangeLength(part);
      if (from >= 0 && from < length) return part.source.get(part.start + from);
      from -= length;
    }
    throw new RangeError(`Cannot read row ${index} of ${this.name}: it has fewer rows`);
  }
}

/** Rows `start` up to `end` of a source. */
export interface SourceRange {
  /** Where the rows are. */
  readonly source: RowSource;
  /** First row. */
  readonly start: number;
  /** The row after the last; Infinity: to the end. */
  readonly end: number;
}

async function rangeLength(part: SourceRange): Promise<number> {
  const end = part.end === Infinity ? await part.source.countRows() : part.end;
  return Math.max(0, end - part.start);
}
