/**
 * From a row to an example: the columns that it needs, its texts and its pictures.
 *
 * @module
 */
import { DataError, RowSkipped } from "./data_error.ts";
import type { FormatReader } from "./rows/formats.ts";
import { type PictureColumns, readImages, rowPictures } from "./rows/image_cell.ts";
import type { PlacedRow, Row } from "./rows/row.ts";
import type { RowSource } from "./sources/row_source.ts";

/** How rows become examples. */
export interface ExampleRules<E> {
  /** Reads rows of the data set's format. */
  readonly reader: FormatReader<E>;
  /** One example of each turn. */
  readonly splitTurns: boolean;
  /** The most images an example may have. */
  readonly maxImages: number;
  /** The columns with pictures. */
  readonly pictureColumns: PictureColumns;
}

/**
 * Checks that a source has the columns of a format.
 *
 * @throws {DataError} if one is missing; columns that cannot be read are named
 */
export function checkColumns<E>(source: RowSource, rules: ExampleRules<E>, name: string): void {
  try {
    rules.reader.checkColumns(source.columns, name);
  } catch (error) {
    const { notes = [] } = source;
    if (!(error instanceof DataError) || notes.length === 0) throw error;
    throw new DataError(`${error.message} (${notes.join("; ")})`, { cause: error });
  }
}

/** Characters of all texts that an example holds; a row's other columns do not count. */
export function charactersOf(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  for (const [key, part] of Object.entries(value)) {
    if (key !== "columns") count += charactersOf(part);
  }
  return count;
}

/**
 * The example of a row.
 *
 * @param part which one, if turns are split
 * @throws {RowSkipped} if the row cannot be used
 */
export async function readExample<E>(
  placed: PlacedRow,
  rules: ExampleRules<E>,
  part: number,
): Promise<E> {
  try {
    const { examples, places } = rules.reader.read(placed.row, rules.splitTurns);
    const pictures = rowPictures(placed.row, rules.pictureColumns, places);
    const images = await readImages(pictures, placed.folder, rules.maxImages);
    return { ...withoutPictures(examples[part], rules.pictureColumns), images } as E;
  } catch (error) {
    if (error instanceof RowSkipped) throw error.at(placed.place);
    throw error;
  }
}

/** An example whose columns do not repeat its pictures; names of files stay. */
function withoutPictures<T>(text: T, columns: PictureColumns): T {
  const { columns: cells } = text as { columns: Row };
  const kept = Object.entries(cells).filter(([name, cell]) =>
    typeof cell === "string" || !columns.some((group) => group.includes(name))
  );
  return { ...text, columns: Object.fromEntries(kept) };
}
