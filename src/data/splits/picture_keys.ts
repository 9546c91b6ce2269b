/**
 * Which rows show the same picture.
 *
 * Pictures are compared by the SHA-256 of their files' bytes. Nothing is decoded, so that the pass
 * costs no more than reading: rows that repeat a picture repeat its file. A picture that was saved
 * again in another format counts as another one.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { RowSkipped } from "../data_error.ts";
import type { ExampleRules } from "../read_example.ts";
import { type PictureCell, readImage, rowPictures } from "../rows/image_cell.ts";
import { type Cell, type DataFolder, isStruct, type PlacedRow, type Row } from "../rows/row.ts";
import type { RowSource } from "../sources/row_source.ts";

/** What is read of a data set's pictures by default, 2 GiB. */
export const PICTURE_SCAN_BYTES: number = 2 * 2 ** 30;

/** How far to read. */
export interface PictureKeysOptions {
  /** Stops after so many bytes of pictures, unless rows share pictures; default: reads all. */
  readonly limitBytes?: number;
}

/** The pictures of a data set's rows. */
export interface PictureKeys {
  /** Keys of the pictures of each row that was read: 53 bits of a hash. */
  readonly ofRow: ReadonlyMap<number, readonly number[]>;
  /** Different pictures. */
  readonly pictures: number;
  /** Rows that show a picture that another row shows too. */
  readonly sharingRows: number;
  /** Group of each row of the source, a number below its rows: rows that share a picture. */
  readonly groups: Uint32Array;
  /** False if the limit ended the reading. */
  readonly complete: boolean;
}

interface ReadRange extends PictureKeysOptions {
  /** Rows that count; the others are groups of their own. */
  readonly rows: ReadonlySet<number>;
  /** Rows of the source. */
  readonly total: number;
}

/** The first 53 bits of a SHA-256, as a number. */
function keyOf(...parts: readonly (string | Uint8Array)[]): number {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return Number(hash.digest().readBigUInt64BE(0) >> 11n);
}

/** Groups of rows that share something. */
class RowGroups {
  readonly #parents: Uint32Array;

  constructor(rows: number) {
    this.#parents = Uint32Array.from({ length: rows }, (_, i) => i);
  }

  find(row: number): number {
    let root = row;
    while (this.#parents[root] !== root) root = this.#parents[root];
    // Paths are shortened, so that a long chain is walked once.
    for (let at = row; at !== root;) {
      const next = this.#parents[at];
      this.#parents[at] = root;
      at = next;
    }
    return root;
  }

  join(a: number, b: number): void {
    const [first, second] = [this.find(a), this.find(b)];
    this.#parents[Math.max(first, second)] = Math.min(first, second);
  }

  numbers(): Uint32Array {
    return this.#parents.map((_, row) => this.find(row));
  }
}

/** Reads the files of pictures; a path that the rows before named is read once. */
class PictureReader {
  bytes = 0;
  #folder: DataFolder | null = null;
  readonly #known = new Map<string, number>();

  async key({ cell, name }: PictureCell, folder: DataFolder): Promise<number> {
    const path = typeof cell === "string" && cell.length < 1024 ? cell : null;
    if (folder !== this.#folder) this.#known.clear();
    this.#folder = folder;
    const known = path === null ? undefined : this.#known.get(path);
    if (known !== undefined) return known;
    const { bytes } = await readImage(cell, name, folder);
    this.bytes += bytes.length;
    const key = keyOf(bytes);
    if (path !== null) this.#known.set(path, key);
    return key;
  }
}

/**
 * Reads the pictures of the rows, one pass in constant memory; a row whose pictures cannot be read
 * has no key here.
 *
 * @param source the rows
 * @param rules where their pictures are
 * @param range which rows, and how many bytes at most
 */
export async function readPictureKeys<E>(
  source: RowSource,
  rules: Pick<ExampleRules<E>, "reader" | "splitTurns" | "pictureColumns">,
  { limitBytes = Infinity, rows, total }: ReadRange,
): Promise<PictureKeys> {
  const needed = [...rules.reader.textColumns, ...rules.pictureColumns.flat()];
  const columns = source.columns.filter((column) => needed.includes(column));
  const ofRow = new Map<number, readonly number[]>();
  const firstRow = new Map<number, number>();
  const sharing = new Set<number>();
  const groups = new RowGroups(total);
  const reader = new PictureReader();
  let row = -1, complete = true;
  for await (const placed of source.rows(0, total, columns)) {
    row++;
    if (!rows.has(row)) continue;
    const keys = await rowKeys(placed, rules, reader);
    if (keys.length > 0) ofRow.set(row, keys);
    for (const key of keys) {
      const first = firstRow.get(key);
      if (first === undefined) firstRow.set(key, row);
      else if (first !== row) {
        sharing.add(first).add(row);
        groups.join(first, row);
      }
    }
    if (reader.bytes > limitBytes && sharing.size === 0) {
      complete = row + 1 === total;
      break;
    }
  }
  return {
    ofRow,
    pictures: firstRow.size,
    sharingRows: sharing.size,
    groups: groups.numbers(),
    complete,
  };
}

async function rowKeys<E>(
  { row, folder }: PlacedRow,
  rules: Pick<ExampleRules<E>, "reader" | "splitTurns" | "pictureColumns">,
  reader: PictureReader,
): Promise<number[]> {
  try {
    const { places } = rules.reader.read(row, rules.splitTurns);
    const keys: number[] = [];
    for (const cell of rowPictures(row, rules.pictureColumns, places)) {
      keys.push(await reader.key(cell, folder));
    }
    return keys;
  } catch (error) {
    if (!(error instanceof RowSkipped)) throw error;
    return []; // met again, and counted, when the row is used
  }
}

/** The bytes or the path that tell a picture from another one, without reading a file. */
function identityOf(cell: Cell): string | Uint8Array {
  if (cell instanceof Uint8Array || typeof cell === "string") return cell;
  if (isStruct(cell) && cell.bytes instanceof Uint8Array) return cell.bytes;
  return JSON.stringify(cell);
}

/**
 * A number from 0 up to 1 for the first picture of a row, for a stream, whose rows are met one by
 * one: the same for the same picture. A picture that is named by its path is not read.
 *
 * @param seed other numbers
 * @returns null if the row has no picture
 */
export function pictureDraw<E>(
  row: Row,
  rules: Pick<ExampleRules<E>, "reader" | "splitTurns" | "pictureColumns">,
  seed: number,
): number | null {
  try {
    const { places } = rules.reader.read(row, rules.splitTurns);
    const [first] = rowPictures(row, rules.pictureColumns, places);
    if (first === undefined) return null;
    return keyOf(`${seed}\n`, identityOf(first.cell)) / 2 ** 53;
  } catch (error) {
    if (!(error instanceof RowSkipped)) throw error;
    return null;
  }
}
