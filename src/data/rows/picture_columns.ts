/**
 * Which columns of a data set hold pictures, and what looks like pictures and is not used.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { formatName } from "../../image/image_header.ts";
import {
  columnPictures,
  IMAGE_COLUMNS,
  type PictureCell,
  type PictureColumns,
  readImage,
  USUAL_PICTURE_COLUMNS,
} from "./image_cell.ts";
import { type Cell, describeCell, isList, isStruct, type PlacedRow } from "./row.ts";
import type { RowSource } from "../sources/row_source.ts";

/** What the first rows show. */
export interface FoundPictureColumns {
  readonly columns: PictureColumns;
  /** What a user should know: columns that are used without being named `images`, or not used. */
  readonly notes: readonly string[];
}

/** Rows in which pictures are looked for. */
const SAMPLE_ROWS = 50;
/** Files that are opened to see whether a column names pictures. */
const TRIED_CELLS = 3;
const PICTURE_NAME =
  /\.(png|jpe?g|jfif|gif|webp|bmp|dib|tiff?|avif|heic|heif|ico|p[pgbn]m|jp2|j2k|jxl)$/i;
/** If several columns hold pictures, the first of these is taken. */
const PREFERRED = [
  "image_path",
  "image_paths",
  "image_file",
  "image_files",
  "file_name",
  "file_names",
  "filename",
  "img",
  "imgs",
  "img_path",
  "image_bytes",
  "picture",
  "pictures",
  "photo",
  "photos",
  "screenshot",
];

/**
 * Looks for pictures in the first rows of a source. `images` and `image` are used if they hold any;
 * else the only other column that does, or numbered ones such as `image_1` and `image_2`.
 *
 * @param source the rows
 * @param textColumns columns of the format's texts, in which no picture is looked for
 */
export async function findPictureColumns(
  source: RowSource,
  textColumns: readonly string[],
): Promise<FoundPictureColumns> {
  const texts = new Set<string>([...textColumns, ...IMAGE_COLUMNS]);
  const others = source.columns.filter((column) => !texts.has(column));
  const usual = source.columns.filter((column) => IMAGE_COLUMNS.some((name) => name === column));
  const sample: PlacedRow[] = [];
  const looked = [...usual, ...others];
  if (looked.length > 0) {
    for await (const placed of source.rows(0, SAMPLE_ROWS, looked, looked)) sample.push(placed);
  }
  const candidates = others.filter((column) =>
    sample.some(({ row }) => looksLikePictures(row[column] ?? null))
  );
  const hasUsual = sample.some(({ row }) => columnPictures(row, USUAL_PICTURE_COLUMNS).length > 0);
  const both = hasBoth(sample)
    ? ["rows have pictures in column images and in column image: those of images are used"]
    : [];
  if (candidates.length === 0) return { columns: USUAL_PICTURE_COLUMNS, notes: both };
  if (hasUsual) {
    const note = `${named(candidates)} may hold pictures too, and ${areNot(candidates)} used`;
    return { columns: USUAL_PICTURE_COLUMNS, notes: [...both, note] };
  }
  const verified: string[] = [];
  const notes: string[] = [];
  for (const column of candidates) {
    const problem = await pictureProblem(source, column, sample);
    if (problem === null) verified.push(column);
    else {
      notes.push(
        `column ${column} looks as if it held pictures, and is not used: ${problem} ` +
          "(dataset.image_folder tells where picture files are)",
      );
    }
  }
  const chosen = chooseColumns(verified);
  if (chosen === null) {
    if (verified.length > 0) {
      notes.push(
        `${named(verified)} hold pictures, and none is used: name one with ` +
          `dataset.rename_columns, such as {${verified[0]}: image}`,
      );
    }
    return { columns: USUAL_PICTURE_COLUMNS, notes };
  }
  notes.unshift(`pictures are those of ${named(chosen)}`);
  const rest = verified.filter((column) => !chosen.includes(column));
  if (rest.length > 0) {
    notes.push(`${named(rest)} ${rest.length === 1 ? "holds" : "hold"} pictures too, not used`);
  }
  return { columns: [...USUAL_PICTURE_COLUMNS, chosen], notes };
}

/** Whether a row has pictures under both usual names. */
function hasBoth(sample: readonly PlacedRow[]): boolean {
  return sample.some(({ row }) =>
    USUAL_PICTURE_COLUMNS.every((column) => columnPictures(row, [column]).length > 0)
  );
}

function named(columns: readonly string[]): string {
  return `${columns.length === 1 ? "column" : "columns"} ${columns.join(", ")}`;
}

function areNot(columns: readonly string[]): string {
  return columns.length === 1 ? "is not" : "are not";
}

/** The column, or the numbered columns, to take; null if it is not clear which. */
function chooseColumns(verified: readonly string[]): readonly string[] | null {
  if (verified.length <= 1) return verified.length === 0 ? null : verified;
  const numbered = verified.map((column) => /^(.*?)[ _-]?(\d+)$/.exec(column));
  const stems = new Set(numbered.map((match) => match?.[1] ?? null));
  if (stems.size === 1 && !stems.has(null)) {
    return [...verified].sort((a, b) => numberOf(a) - numberOf(b));
  }
  const preferred = PREFERRED.find((name) => verified.includes(name));
  return preferred === undefined ? null : [preferred];
}

function numberOf(column: string): number {
  return Number(/\d+$/.exec(column)?.[0] ?? 0);
}

/** Whether a cell may be a picture, by its form alone; its bytes may be left out. */
function looksLikePictures(cell: Cell): boolean {
  if (cell instanceof Uint8Array) return true;
  if (isList(cell)) return cell.length > 0 && cell.some((one) => looksLikePictures(one));
  if (isStruct(cell)) {
    const keys = Object.keys(cell);
    const isFile = keys.includes("bytes") && keys.every((key) => key === "bytes" || key === "path");
    const { path } = cell;
    if (typeof path === "string" && path !== "") return PICTURE_NAME.test(path);
    return isFile && cell.bytes !== null;
  }
  if (typeof cell !== "string") return false;
  const text = cell.trim();
  if (text.startsWith("[") && text.length < 10_000) return looksLikePictureList(text);
  return /^data:image\//i.test(text) || PICTURE_NAME.test(text.replace(/[?#].*$/, "")) ||
    /^(iVBORw0KGgo|\/9j\/|R0lGOD|UklGR)/.test(text);
}

function looksLikePictureList(text: string): boolean {
  try {
    const value: Cell = JSON.parse(text);
    return isList(value) && value.some((one) => looksLikePictures(one));
  } catch {
    return false;
  }
}

/** Why a column holds no pictures after all; null if it does. */
async function pictureProblem(
  source: RowSource,
  column: string,
  sample: readonly PlacedRow[],
): Promise<string | null> {
  let problem = "it holds nothing that can be read";
  let tried = 0;
  for (let i = 0; i < sample.length && tried < TRIED_CELLS; i++) {
    if (!looksLikePictures(sample[i].row[column] ?? null)) continue;
    tried++;
    for await (const { row, folder } of source.rows(i, i + 1, [column])) {
      const [first] = columnPictures(row, [[column]]) as (PictureCell | undefined)[];
      if (first === undefined) continue;
      try {
        const { bytes } = await readImage(first.cell, first.name, folder);
        if (formatName(bytes) !== null) return null;
        problem = `${first.name} holds ${describeCell(bytes)} that are not a picture`;
      } catch (error) {
        if (!(error instanceof RowSkipped)) throw error;
        problem = error.reason;
      }
    }
  }
  return problem;
}
