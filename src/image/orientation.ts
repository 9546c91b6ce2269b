/**
 * The orientation that a camera wrote into a file, by which a picture is turned upright.
 *
 * Sources: EXIF 2.32, tag 274; Pillow's `ImageOps.exif_transpose`, which reads XMP if EXIF does not
 * say.
 *
 * @module
 */
import { readTiffTags, tiffOrientation } from "./decoders/tiff.ts";
import { webpChunks } from "./decoders/webp.ts";
import type { RgbImage } from "./rgb_image.ts";

/** 1: upright; 2 to 8: mirrored, turned or both. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** What a file says of its orientation. */
interface Metadata {
  exif: Uint8Array | null;
  xmp: string | null;
}

const latin1 = new TextDecoder("latin1");

function startsWith(bytes: Uint8Array, text: string): boolean {
  return latin1.decode(bytes.subarray(0, text.length)) === text;
}

/** The data of APP1 segments, up to the picture's data. */
function jpegMetadata(bytes: Uint8Array): Metadata {
  const found: Metadata = { exif: null, xmp: null };
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at++;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) break;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;
      continue;
    }
    const length = bytes[at + 2] << 8 | bytes[at + 3];
    const data = bytes.subarray(at + 4, at + 2 + length);
    if (marker === 0xe1 && startsWith(data, "Exif\0\0")) found.exif ??= data.subarray(6);
    if (marker === 0xe1 && startsWith(data, "http://ns.adobe.com/xap/1.0/\0")) {
      found.xmp ??= latin1.decode(data);
    }
    if (length < 2) break;
    at += 2 + length;
  }
  return found;
}

function pngMetadata(bytes: Uint8Array): Metadata {
  const found: Metadata = { exif: null, xmp: null };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const name = latin1.decode(bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (name === "eXIf") found.exif ??= data;
    if (name === "iTXt" && startsWith(data, "XML:com.adobe.xmp\0")) {
      found.xmp ??= latin1.decode(data);
    }
    at += 12 + length;
  }
  return found;
}

function webpMetadata(bytes: Uint8Array): Metadata {
  const found: Metadata = { exif: null, xmp: null };
  for (const { name, data } of webpChunks(bytes)) {
    if (name === "EXIF") found.exif ??= startsWith(data, "Exif\0\0") ? data.subarray(6) : data;
    if (name === "XMP ") found.xmp ??= latin1.decode(data);
  }
  return found;
}

/**
 * The orientation that a file says it has; 1 if it says none, or nonsense.
 *
 * @param bytes the file
 * @param format its kind
 */
export function imageOrientation(bytes: Uint8Array, format: string): Orientation {
  if (format === "TIFF") return valid(tiffOrientation(readTiffTags(bytes))) ?? 1;
  const read = { JPEG: jpegMetadata, PNG: pngMetadata, WebP: webpMetadata }[format];
  if (read === undefined) return 1;
  const { exif, xmp } = read(bytes);
  const tags = exif === null ? null : readTiffTags(exif);
  const inExif = tags?.get(274)?.[0];
  if (inExif !== undefined) return valid(inExif) ?? 1;
  const inXmp = xmp === null ? null : /tiff:Orientation(?:="|>)([0-9])/.exec(xmp);
  return inXmp === null ? 1 : valid(Number(inXmp[1])) ?? 1;
}

function valid(value: number): Orientation | null {
  return Number.isInteger(value) && value >= 1 && value <= 8 ? value as Orientation : null;
}

/** Whether width and height change places. */
export function swapsSides(orientation: Orientation): boolean {
  return orientation >= 5;
}

/** Where a pixel of the upright picture is in the stored one of `width` x `height`. */
type Source = (x: number, y: number, width: number, height: number) => readonly [number, number];

const SOURCES: Readonly<Record<Orientation, Source>> = {
  1: (x, y) => [x, y],
  2: (x, y, width) => [width - 1 - x, y],
  3: (x, y, width, height) => [width - 1 - x, height - 1 - y],
  4: (x, y, _, height) => [x, height - 1 - y],
  5: (x, y) => [y, x],
  6: (x, y, _, height) => [y, height - 1 - x],
  7: (x, y, width, height) => [width - 1 - y, height - 1 - x],
  8: (x, y, width) => [width - 1 - y, x],
};

/** A picture turned upright; the picture itself if it is upright. */
export function upright(image: RgbImage, orientation: Orientation): RgbImage {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const [outWidth, outHeight] = swapsSides(orientation) ? [height, width] : [width, height];
  const out = new Uint8Array(data.length);
  const source = SOURCES[orientation];
  for (let y = 0, to = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++, to += 3) {
      const [fromX, fromY] = source(x, y, width, height);
      const from = (fromY * width + fromX) * 3;
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
  return { width: outWidth, height: outHeight, data: out };
}
