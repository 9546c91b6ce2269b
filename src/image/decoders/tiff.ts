/**
 * TIFF files as Pillow reads them; of several pages, the first.
 *
 * Source: TIFF 6.0, sections 2 to 8.
 *
 * @module
 */
import { ImageDecodeError } from "../image_decode_error.ts";
import type { RgbImage } from "../rgb_image.ts";
import { rgbOfRgba } from "./rgb_of_rgba.ts";

/** What the first page says of itself, by the numbers of its tags. */
export type TiffTags = ReadonlyMap<number, readonly number[]>;

const WIDTH = 256, HEIGHT = 257, BITS = 258, COMPRESSION = 259, PHOTOMETRIC = 262;
const ORIENTATION = 274, SAMPLES = 277, PLANES = 284, FORMAT = 339;
/** Offsets and lengths of the picture's strips, or of its tiles. */
const PIECES = [[273, 279], [324, 325]] as const;
/** Values that are read of a tag: a picture of 64 million pixels has fewer strips. */
const MOST_VALUES = 100_000;

/** Compressions that are decoded as Pillow does, by number. */
const COMPRESSIONS: Readonly<Record<number, string>> = {
  1: "none",
  3: "CCITT group 3",
  4: "CCITT group 4",
  5: "LZW",
  8: "deflate",
  32773: "PackBits",
  32946: "deflate",
};
const OTHER_COMPRESSIONS: Readonly<Record<number, string>> = {
  2: "CCITT RLE",
  6: "old JPEG",
  7: "JPEG",
  34712: "JPEG 2000",
  34925: "LZMA",
  50000: "Zstandard",
  50001: "WebP",
};
const PHOTOMETRICS: Readonly<Record<number, string>> = {
  0: "grey, white is 0",
  1: "grey",
  2: "RGB",
  3: "palette",
  5: "CMYK",
  6: "YCbCr",
  8: "CIELab",
};

/**
 * The integer tags of the first page, or of any directory in TIFF's form, such as EXIF's.
 *
 * @param bytes from the byte-order mark on
 * @returns empty if it is cut
 */
export function readTiffTags(bytes: Uint8Array): TiffTags {
  const tags = new Map<number, readonly number[]>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) return tags;
  const little = bytes[0] === 0x49;
  const directory = view.getUint32(4, little);
  if (directory + 2 > bytes.length) return tags;
  const count = view.getUint16(directory, little);
  for (let i = 0; i < count; i++) {
    const at = directory + 2 + 12 * i;
    if (at + 12 > bytes.length) break;
    const type = view.getUint16(at + 2, little);
    const size = type === 3 ? 2 : type === 4 ? 4 : type === 1 ? 1 : 0;
    const values = view.getUint32(at + 4, little);
    if (size === 0 || values === 0) continue;
    const from = size * values <= 4 ? at + 8 : view.getUint32(at + 8, little);
    const read = Math.min(values, MOST_VALUES);
    if (from + size * read > bytes.length) continue;
    tags.set(
      view.getUint16(at, little),
      Array.from(
        { length: read },
        (_, k) =>
          size === 1
            ? view.getUint8(from + k)
            : size === 2
            ? view.getUint16(from + 2 * k, little)
            : view.getUint32(from + 4 * k, little),
      ),
    );
  }
  return tags;
}

/** Size and EXIF orientation of the first page. */
export function tiffSize(bytes: Uint8Array): [width: number, height: number] {
  const tags = readTiffTags(bytes);
  const [width] = tags.get(WIDTH) ?? [], [height] = tags.get(HEIGHT) ?? [];
  if (width === undefined || height === undefined) {
    throw new ImageDecodeError("Cannot decode a TIFF: its first page has no size, or it is cut");
  }
  requireSupported(tags);
  return [width, height];
}

/** The orientation of the first page: 1 if it says none. */
export function tiffOrientation(tags: TiffTags): number {
  return tags.get(ORIENTATION)?.[0] ?? 1;
}

/** @throws {ImageDecodeError} for a kind that is not decoded as Pillow does */
function requireSupported(tags: TiffTags): void {
  const bits = tags.get(BITS) ?? [1];
  const [compression] = tags.get(COMPRESSION) ?? [1];
  const [photometric] = tags.get(PHOTOMETRIC) ?? [0];
  const [samples] = tags.get(SAMPLES) ?? [1];
  const [format] = tags.get(FORMAT) ?? [1];
  const refuse = (what: string) => {
    throw new ImageDecodeError(`Cannot decode a TIFF: ${what} is not supported; convert it first`);
  };
  if (!(compression in COMPRESSIONS)) {
    refuse(`compression ${OTHER_COMPRESSIONS[compression] ?? compression}`);
  }
  if (format !== 1) refuse(format === 3 ? "a picture of floating-point numbers" : "signed numbers");
  const depth = bits[0];
  const kind = PHOTOMETRICS[photometric] ?? `photometric ${photometric}`;
  const isGrey = photometric <= 1 && samples <= 2 && [1, 8, 16].includes(depth);
  const isPalette = photometric === 3 && samples === 1 && depth === 8;
  const isRgb = photometric === 2 && (samples === 3 || samples === 4) && depth === 8;
  if (!isGrey && !isPalette && !isRgb) refuse(`${kind} with ${samples} × ${depth} bits`);
  if (samples > 1 && (tags.get(PLANES)?.[0] ?? 1) !== 1) refuse("a file of separate planes");
  if (photometric === 0 && depth === 16) refuse("16-bit grey whose white is 0");
}

/** Bytes of a value by its type. */
const TYPE_BYTES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];

/** Whether the first page's directory, or a value of it, lies beyond the end of the file. */
function isDirectoryCut(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49;
  const directory = view.getUint32(4, little);
  const entries = view.getUint16(directory, little);
  if (directory + 2 + 12 * entries > bytes.length) return true;
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    const size = (TYPE_BYTES[view.getUint16(at + 2, little)] ?? 0) * view.getUint32(at + 4, little);
    if (size > 4 && view.getUint32(at + 8, little) + size > bytes.length) return true;
  }
  return false;
}

/** @throws {ImageDecodeError} if a part of the picture lies beyond the end of the file */
function requireWhole(bytes: Uint8Array): void {
  const tags = readTiffTags(bytes);
  if (isDirectoryCut(bytes)) {
    throw new ImageDecodeError(`Cannot decode a TIFF of ${bytes.length} bytes: its data is cut`);
  }
  for (const [offsetTag, lengthTag] of PIECES) {
    const offsets = tags.get(offsetTag), lengths = tags.get(lengthTag);
    if (offsets === undefined || lengths === undefined) continue;
    if (offsets.every((offset, i) => offset + (lengths[i] ?? Infinity) <= bytes.length)) return;
    throw new ImageDecodeError(`Cannot decode a TIFF of ${bytes.length} bytes: its data is cut`);
  }
  throw new ImageDecodeError("Cannot decode a TIFF: it does not say where its data is");
}

/**
 * Decodes the first page. 16-bit grey is scaled to 8 bits.
 *
 * @throws {ImageDecodeError} for a kind that is not decoded as Pillow does
 * @throws {Error} if its data is corrupt
 */
export async function decodeTiff(bytes: Uint8Array): Promise<RgbImage> {
  const [width, height] = tiffSize(bytes);
  requireWhole(bytes);
  const { default: UTIF } = await import("utif2");
  const file = bytes.slice().buffer;
  const [page] = UTIF.decode(file);
  UTIF.decodeImage(file, page);
  const rgba = UTIF.toRGBA8(page);
  if (page.width !== width || page.height !== height || rgba.length < width * height * 4) {
    throw new ImageDecodeError("Cannot decode a TIFF: its data is not that of its size");
  }
  return { width, height, data: rgbOfRgba(rgba, width * height) };
}
