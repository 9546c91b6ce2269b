/**
 * Image columns in all their forms, as encoded bytes: `{bytes, path}` structs, raw bytes, base64,
 * data URLs, paths; one, a list, or none. Nothing is decoded here.
 *
 * @module
 */
import { RowSkipped } from "../data_error.ts";
import { type Cell, type DataFolder, describeCell, isList, isStruct, type Row } from "./row.ts";

/** A picture as it was stored: PNG, JPEG and the like. */
export interface EncodedImage {
  /** The file's bytes. */
  readonly bytes: Uint8Array;
  /** What to call it in messages. */
  readonly name: string;
}

/** The columns that hold images, the first one that a row fills wins. */
export const IMAGE_COLUMNS = ["images", "image"] as const;

/**
 * The images of a row, in order.
 *
 * @param row the cells
 * @param folder reads images given as paths
 * @param limit the most images an example may have
 * @throws {RowSkipped} if there are more, or one is not an image
 */
export async function readImages(
  row: Row,
  folder: DataFolder,
  limit: number,
): Promise<EncodedImage[]> {
  const column = IMAGE_COLUMNS.find((name) => row[name] !== undefined && row[name] !== null);
  if (column === undefined) return [];
  const cells = listImages(row[column]);
  if (cells.length > limit) {
    throw new RowSkipped(`${cells.length} images, more than max_images_per_example ${limit}`);
  }
  return await Promise.all(
    cells.map((cell, i) => readImage(cell, cells.length > 1 ? `${column}[${i}]` : column, folder)),
  );
}

/** One cell an image; an empty list if there is none. */
function listImages(cell: Cell): readonly Cell[] {
  if (cell === null) return [];
  if (isList(cell) && !isByteList(cell)) return cell.filter((item) => item !== null);
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

async function readImage(cell: Cell, name: string, folder: DataFolder): Promise<EncodedImage> {
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
    const source = path ?? cell.src ?? cell.url ?? cell.image;
    if (typeof source === "string") return await readImage(source, name, folder);
  }
  if (typeof cell === "string") return await readImageText(cell.trim(), name, folder);
  throw new RowSkipped(
    `${name} holds ${describeCell(cell)}; want bytes, base64, a data URL, a path or {bytes, path}`,
  );
}

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
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text)) {
    throw new RowSkipped(
      `${name} is a web address (${new URL(text).protocol}); images are not fetched, store them`,
    );
  }
  const bytes = looksLikeBase64(text) ? decodeBase64(text) : null;
  if (bytes !== null && isKnownImage(bytes)) return { bytes, name };
  if (text.length > 4096) throw new RowSkipped(`${name} is a long text that is not a base64 image`);
  return { bytes: notEmpty(await folder.read(text), text), name: text };
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

/** First bytes of PNG, JPEG, GIF, BMP, TIFF and RIFF (WebP). */
const MAGIC: readonly (readonly number[])[] = [
  [0x89, 0x50, 0x4e, 0x47],
  [0xff, 0xd8, 0xff],
  [0x47, 0x49, 0x46, 0x38],
  [0x42, 0x4d],
  [0x49, 0x49, 0x2a, 0x00],
  [0x4d, 0x4d, 0x00, 0x2a],
  [0x52, 0x49, 0x46, 0x46],
];

function isKnownImage(bytes: Uint8Array): boolean {
  return MAGIC.some((magic) => magic.every((byte, i) => bytes[i] === byte));
}
