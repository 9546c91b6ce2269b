/**
 * The files that rows from a preprocessing module may name. The module is foreign: it must not make the
 * trainer read files that the user's data did not name.
 */
import { type Cell, type DataFolder, isList, isStruct, type PlacedRow } from "../rows/row.ts";

/** Longer strings are pictures as base64, and name no file. */
const MAX_PATH_CHARACTERS = 4096;

/** Reads what the row before the module named, and what lies below the data file's folder. */
export class ModuleRowFolder implements DataFolder {
  readonly #inner: DataFolder;
  readonly #named: ReadonlySet<string>;

  private constructor(inner: DataFolder, named: ReadonlySet<string>) {
    this.#inner = inner;
    this.#named = named;
  }

  /** The folder for rows that are made of one row of the data. */
  static of({ row, folder }: PlacedRow): ModuleRowFolder {
    if (folder instanceof ModuleRowFolder) return folder;
    const named = new Set<string>();
    collect(row, named);
    return new ModuleRowFolder(folder, named);
  }

  /** The folder for rows that are made of several rows of one data file. */
  static ofAll(rows: readonly PlacedRow[]): ModuleRowFolder {
    const folders = rows.map((row) => ModuleRowFolder.of(row));
    return new ModuleRowFolder(
      folders[0].#inner,
      new Set(folders.flatMap((folder) => [...folder.#named])),
    );
  }

  /**
   * As {@linkcode DataFolder.read}.
   *
   * @throws {RowSkipped} if the path was not in the row before, and does not lie below the folder
   */
  read(path: string): Promise<Uint8Array> {
    return this.#inner.read(path, { belowOnly: !this.#named.has(path) });
  }
}

/** Every string of a cell, also of lists that a cell holds as JSON. */
function collect(cell: Cell, named: Set<string>): void {
  if (typeof cell === "string") {
    const text = cell.trim();
    if (text.length > MAX_PATH_CHARACTERS) return;
    named.add(text);
    if (!text.startsWith("[")) return;
    try {
      collect(JSON.parse(text), named);
    } catch {
      // Not a list: text that begins with a bracket.
    }
  } else if (isList(cell)) { for (const item of cell) collect(item, named); }
  else if (isStruct(cell)) { for (const item of Object.values(cell)) collect(item, named); }
}
