/**
 * What every data source yields: rows of named cells, and the place of each row.
 *
 * @module
 */

/** One value of a row: what JSON can say, plus raw bytes. */
export type Cell =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Cell[]
  | { readonly [name: string]: Cell };

/** One row: cells by column name. */
export type Row = { readonly [column: string]: Cell };

/** A row and its place, such as `train.jsonl line 12`. */
export interface PlacedRow {
  /** The cells. */
  readonly row: Row;
  /** File and line or row number, for messages. */
  readonly place: string;
  /** Reads a file named by a cell, relative to the file that the row came from. */
  readonly folder: DataFolder;
}

/** The files that image columns of a data file may name. */
export interface DataFolder {
  /**
   * The bytes of a file named in a row.
   *
   * @param options `belowOnly`: only files whose real path lies below the data file's folder
   * @throws {RowSkipped} if there is no such file or the path may not be read
   */
  read(path: string, options?: { readonly belowOnly?: boolean }): Promise<Uint8Array>;
}

/** Whether a cell is an object of further cells. */
export function isStruct(cell: Cell | undefined): cell is { readonly [name: string]: Cell } {
  return typeof cell === "object" && cell !== null && !Array.isArray(cell) &&
    !(cell instanceof Uint8Array);
}

/** Whether a cell is a list of further cells. */
export function isList(cell: Cell | undefined): cell is readonly Cell[] {
  return Array.isArray(cell);
}

/** A cell as text: strings, and bytes that are UTF-8; null for all else. */
export function cellText(cell: Cell | undefined): string | null {
  if (typeof cell === "string") return cell;
  if (cell instanceof Uint8Array) {
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(cell);
    } catch {
      return null;
    }
  }
  return null;
}

/**
 * A cell as text, numbers and booleans included, as a person writes them: `3`, `true`. Null for
 * all else, and for NaN, which stands for a missing value.
 */
export function scalarText(cell: Cell | undefined): string | null {
  if (typeof cell === "boolean") return String(cell);
  if (typeof cell === "number") return Number.isNaN(cell) ? null : String(cell);
  return cellText(cell);
}

/** A short description of a cell, for messages. */
export function describeCell(cell: Cell | undefined): string {
  if (cell === undefined) return "nothing";
  if (cell === null) return "null";
  if (cell instanceof Uint8Array) {
    return `${cell.length} bytes${cellText(cell) === null ? " that are not UTF-8 text" : ""}`;
  }
  if (Array.isArray(cell)) return `a list of ${cell.length}`;
  if (typeof cell === "object") {
    return `an object with ${Object.keys(cell).join(", ") || "no keys"}`;
  }
  if (typeof cell === "string") {
    return `the text ${JSON.stringify(cell.length > 40 ? cell.slice(0, 40) + "…" : cell)}`;
  }
  return `${typeof cell} ${cell}`;
}
