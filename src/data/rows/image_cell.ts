/**
 * Image columns in all their forms, as encoded bytes: `{bytes, path}` structs, raw bytes, base64,
 * data URLs, paths; one, a list, or none. Nothing is decoded here.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { RowSkipped } from "../data_error.ts";
import { formatName } from "../../image/image_header.ts";
import type { PicturePlace } from "./message_parts.ts";
import { type Cell, type DataFolder, describeCell, isList, isStruct, type Row } from "./row.ts";

/** A picture as it was stored: PNG, JPEG and the like. */
export interface EncodedImage {
  /** The file's bytes. */
  readonly bytes: Uint8Array;
  /** What to call it in messages. */
  readonly name: string;
}

/** The columns that hold images by their names. */
export const IMAGE_COLUMNS = ["images", "image"] as const;

/**
 * Columns that hold pictures: the first group of which a row fills a column wins. The columns of a
 * group, such as `image_1` and `image_2`, are read together.
 */
export type PictureColumns = readonly (readonly string[])[];

/** `images`, else `image`. */
export const USUAL_PICTURE_COLUMNS: PictureColumns = IMAGE_COLUMNS.map((name) => [name]);

/** A picture of a row that was not read yet. */
export interface PictureCell {
  readonly cell: Cell;
  /** What to call it in messages. */
  readonly name: string;
}

/** The pictures in the columns of a row, in order. */
export function columnPictures(row: Row, columns: PictureColumns): PictureCell[] {
  for (const group of columns) {
    const found = group.flatMap((column) => {
      const cells = listImages(row[column] ?? null);
      return cells.map((cell, i) => ({
        cell,
        name: cells.length > 1 ? `${column}[${i}]` : column,
      }));
    });
    if (found.length > 0) return found;
  }
  return [];
}

/**
 * The pictures of a row: those of its columns, those that stand in its messages, or both where
 * marks stand for the former.
 *
 * @param row the cells
 * @param columns the columns with pictures
 * @param places the pictures that the conversation has places for
 * @throws {RowSkipped} if places and pictures differ in number
 */
export function rowPictures(
  row: Row,
  columns: PictureColumns,
  places: readonly PicturePlace[],
): PictureCell[] {
  const inColumns = columnPictures(row, columns);
  const named = places.flatMap((place) => place === null ? [] : listImages(place));
  const bare = places.filter((place) => place === null).length;
  if (places.length === 0 || (inColumns.length === places.length && bare === places.length)) {
    return inColumns;
  }
  if (inColumns.length === bare) {
    let next = 0;
    return places.flatMap((place, i) =>
      place === null
        ? [inColumns[next++]]
        : listImages(place).map((cell) => ({ cell, name: `picture ${i} of the messages` }))
    );
  }
  // A column with as many pictures as the messages name holds the same ones, stored.
  if (bare === 0 && inColumns.length === named.length) return inColumns;
  const has = inColumns.length === 1 ? "1 picture" : `${inColumns.length} pictures`;
  const wants = bare === places.length
    ? `${bare} <image> mark${bare === 1 ? "" : "s"}`
    : `${places.length} places for pictures in the messages, ${bare} of them unnamed,`;
  throw new RowSkipped(`${wants} and ${has} in the columns`);
}

/**
 * The images of a row, in order.
 *
 * @param pictures what `rowPictures` found
 * @param folder reads images given as paths
 * @param limit the most images an example may have
 * @throws {RowSkipped} if there are more, or one is not an image
 */
export async function readImages(
  pictures: readonly PictureCell[],
  folder: DataFolder,
  limit: number,
): Promise<EncodedImage[]> {
  if (pictures.length > limit) {
    throw new RowSkipped(`${pictures.length} images, more than max_images_per_example ${limit}`);
  }
  return await Promise.all(pictures.map(({ cell, name }) => readImage(cell, name, folder)));
}

/** One cell an image; an empty list if there is none. */
function listImages(cell: Cell): readonly Cell[] {
  if (cell === null) return [];
  if (isList(cell) && !isByteList(cell)) return cell.flatMap(listImages);
  // A struct whose every field is null stands for no picture.
  if (isStruct(cell) && Object.values(cell).every((value) => value === null)) return [];
  const text = typeof cell === "string" ? cell.trim() : null;
  if (text === "") return [];
  // A list of paths or data URLs that a CSV file holds as JSON.
  if (text?.startsWith("[")) {
    try {
      return listImages(JSON.parse(text));
    } catch {
      return [cell];
    }
  }
  return [cell];
}

/** Bytes that JSON has as a list of numbers. */
function isByteList(cell: readonly Cell[]): cell is readonly number[] {
  return cell.length > 0 &&
    cell.every((item) =>
      typeof item === "number" && Number.isInteger(item) && item >= 0 && item < 256
    );
}

/**
 * One picture, as a file.
 *
 * @param cell bytes, base64, a data URL, a path, or an object with one of them
 * @param name for messages
 * @param folder reads files
 * @throws {RowSkipped} if it is not an image
 */
export async function readImage(
  cell: Cell,
  name: string,
  folder: DataFolder,
): Promise<EncodedImage> {
  if (cell instanceof Uint8Array) {
    // A copy: the original may be a view that keeps a whole page of the file alive.
    return { bytes: notEmpty(cell.slice(), name), name };
  }
  if (isList(cell) && isByteList(cell)) return { bytes: Uint8Array.from(cell), name };
  if (isStruct(cell)) {
    const path = typeof cell.path === "string" && cell.path !== "" ? cell.path : null;
    if (cell.bytes !== null && cell.bytes !== undefined) {
      const image = await readImage(cell.bytes, name, folder);
      return path === null ? image : { bytes: image.bytes, name: path };
    }
    const source = path ??
      SOURCE_KEYS.map((key) => cell[key]).find((value) =>
        value !== null && value !== undefined && value !== ""
      );
    if (source !== undefined) return await readImage(source, name, folder);
  }
  if (typeof cell === "string") return await readImageText(cell.trim(), name, folder);
  throw new RowSkipped(
    `${name} holds ${describeCell(cell)}; want bytes, base64, a data URL, a path or {bytes, path}`,
  );
}

/** Keys of objects that lead to a picture, beside `bytes` and `path`. */
const SOURCE_KEYS = [
  "url",
  "src",
  "image",
  "image_url",
  "data",
  "base64",
  "source",
  "file_name",
] as const;

async function readImageText(
  text: string,
  name: string,
  folder: DataFolder,
): Promise<EncodedImage> {
  if (/^data:/i.test(text)) {
    const comma = text.indexOf(",");
    if (comma < 0) throw new RowSkipped(`${name} is a data URL with no comma`);
    const body = text.slice(comma + 1);
    const bytes = /;base64$/i.test(text.slice(0, comma))
      ? decodeBase64(body)
      : percentDecoded(body);
    if (bytes === null) throw new RowSkipped(`${name} is a data URL whose base64 is broken`);
    return { bytes: notEmpty(bytes, name), name };
  }
  if (/^file:\/\//i.test(text)) return await readImageText(filePath(text, name), name, folder);
  const scheme = /^([a-z][a-z0-9+.-]+:)\/\//i.exec(text);
  if (scheme !== null) {
    throw new RowSkipped(
      `${name} is a web address (${scheme[1]}); images are not fetched, store them`,
    );
  }
  const bytes = looksLikeBase64(text) ? decodeBase64(text) : null;
  if (bytes !== null && formatName(bytes) !== null) return { bytes, name };
  if (text.length > 4096) throw new RowSkipped(`${name} is a long text that is not a base64 image`);
  return { bytes: notEmpty(await folder.read(text), text), name: text };
}

/** The path of a `file:` URL. */
function filePath(url: string, name: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new RowSkipped(`${name} is not a valid file URL: ${url.slice(0, 80)}`);
  }
}

function notEmpty(bytes: Uint8Array, name: string): Uint8Array {
  if (bytes.length === 0) throw new RowSkipped(`image ${name} has no bytes`);
  return bytes;
}

function looksLikeBase64(text: string): boolean {
  return text.length >= 16 && /^[A-Za-z0-9+/_-]+={0,2}$/.test(text.replace(/\s+/g, ""));
}

function decodeBase64(text: string): Uint8Array | null {
  try {
    const plain = text.replace(/\s+/g, "").replaceAll("-", "+").replaceAll("_", "/");
    const binary = atob(plain);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  } catch {
    return null;
  }
}

function percentDecoded(text: string): Uint8Array {
  const bytes: number[] = [];
  const utf8 = new TextEncoder();
  for (let i = 0; i < text.length; i++) {
    const hex = /^%([0-9a-f]{2})/i.exec(text.slice(i, i + 3));
    if (hex === null) bytes.push(...utf8.encode(text[i]));
    else {
      bytes.push(parseInt(hex[1], 16));
      i += 2;
    }
  }
  return Uint8Array.from(bytes);
}
