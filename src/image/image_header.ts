/**
 * The header of an image file: its format and its size, before anything is decoded.
 *
 * @module
 */
import { readBmpHeader } from "./decoders/bmp.ts";
import { tiffSize } from "./decoders/tiff.ts";
import { webpSize } from "./decoders/webp.ts";
import { ImageDecodeError } from "./image_decode_error.ts";
import { imageOrientation, type Orientation, swapsSides } from "./orientation.ts";

export { ImageDecodeError };

/** Format and claimed size of an image file. */
export interface ImageHeader {
  format: ImageFormat;
  /** In pixels, as claimed, of the upright picture. */
  width: number;
  /** In pixels, as claimed, of the upright picture. */
  height: number;
  /** By which the stored picture is turned upright. */
  orientation: Orientation;
}

/** The formats that can be decoded. */
export type ImageFormat = "PNG" | "JPEG" | "GIF" | "WebP" | "BMP" | "TIFF";

function startsWith(bytes: Uint8Array, text: string, at = 0): boolean {
  if (bytes.length < at + text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Name of the format by the first bytes, or null. */
export function formatName(bytes: Uint8Array): string | null {
  if (startsWith(bytes, "\x89PNG\r\n\x1a\n")) return "PNG";
  if (startsWith(bytes, "\xff\xd8\xff")) return "JPEG";
  if (startsWith(bytes, "GIF87a") || startsWith(bytes, "GIF89a")) return "GIF";
  if (startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8)) return "WebP";
  if (startsWith(bytes, "II*\0") || startsWith(bytes, "MM\0*")) return "TIFF";
  if (startsWith(bytes, "BM")) return "BMP";
  if (startsWith(bytes, "II+\0") || startsWith(bytes, "MM\0+")) return "BigTIFF";
  if (startsWith(bytes, "ftypavi", 4)) return "AVIF";
  if (["hei", "hev", "mif1", "msf1"].some((brand) => startsWith(bytes, `ftyp${brand}`, 4))) {
    return startsWith(bytes, "avif", 16) || startsWith(bytes, "avif", 20) ? "AVIF" : "HEIF";
  }
  if (startsWith(bytes, "\0\0\x01\0")) return "ICO";
  if (startsWith(bytes, "\0\0\x02\0")) return "CUR";
  if (/^P[1-7fF]\s/.test(String.fromCharCode(...bytes.subarray(0, 3)))) return "PPM";
  if (startsWith(bytes, "\xff\x4f\xff\x51")) return "JPEG 2000";
  if (startsWith(bytes, "\0\0\0\x0cJXL ") || startsWith(bytes, "\xff\x0a")) return "JPEG XL";
  if (startsWith(bytes, "\0\0\0\x0cjP  ")) return "JPEG 2000";
  if (startsWith(bytes, "8BPS")) return "Photoshop";
  if (startsWith(bytes, "<svg") || startsWith(bytes, "<?xml")) return "SVG";
  if (startsWith(bytes, "%PDF")) return "PDF";
  return null;
}

function cut(format: string, bytes: Uint8Array): never {
  throw new ImageDecodeError(
    `Cannot decode a ${format}: it ends within its header, after ${bytes.length} bytes`,
  );
}

function pngSize(bytes: Uint8Array): [number, number] {
  if (bytes.length < 33) cut("PNG", bytes);
  if (!startsWith(bytes, "IHDR", 12)) {
    throw new ImageDecodeError("Cannot decode a PNG: its first chunk is not IHDR");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [view.getUint32(16), view.getUint32(20)];
}

/** Size in the first start-of-frame marker (ITU T.81, B.2.2). */
function jpegSize(bytes: Uint8Array): [number, number] {
  let at = 2;
  for (;;) {
    while (at < bytes.length && bytes[at] !== 0xff) at++;
    while (at < bytes.length && bytes[at] === 0xff) at++;
    if (at + 3 > bytes.length) cut("JPEG", bytes);
    const marker = bytes[at];
    const standsAlone = marker === 0x01 || marker === 0x00 || (marker >= 0xd0 && marker <= 0xd8);
    if (standsAlone) {
      at++;
      continue;
    }
    if (marker === 0xd9 || marker === 0xda) {
      throw new ImageDecodeError("Cannot decode a JPEG: it has no frame header before its data");
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf &&
      marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) {
      if (marker >= 0xc9) {
        throw new ImageDecodeError(
          "Cannot decode a JPEG: arithmetic coding is not supported; convert it first",
        );
      }
      if (marker === 0xc3 || marker >= 0xc5) {
        throw new ImageDecodeError(
          "Cannot decode a JPEG: a lossless or hierarchical one is not supported; convert it first",
        );
      }
      if (at + 8 > bytes.length) cut("JPEG", bytes);
      return [bytes[at + 6] << 8 | bytes[at + 7], bytes[at + 4] << 8 | bytes[at + 5]];
    }
    const length = bytes[at + 1] << 8 | bytes[at + 2];
    if (length < 2) {
      throw new ImageDecodeError(`Cannot decode a JPEG: a segment claims ${length} bytes`);
    }
    at += 1 + length;
  }
}

/** The larger of the screen and the first frame: a decoder allocates either. */
function gifSize(bytes: Uint8Array): [number, number] {
  if (bytes.length < 14) cut("GIF", bytes);
  const word = (at: number) => bytes[at] | bytes[at + 1] << 8;
  const colorTable = (flags: number) => flags & 0x80 ? 3 << ((flags & 7) + 1) : 0;
  let width = word(6), height = word(8);
  let at = 13 + colorTable(bytes[10]);
  while (at < bytes.length && bytes[at] === 0x21) {
    at += 2;
    while (at < bytes.length && bytes[at] !== 0) at += 1 + bytes[at];
    at++;
  }
  if (at + 10 > bytes.length) cut("GIF", bytes);
  if (bytes[at] !== 0x2c) throw new ImageDecodeError("Cannot decode a GIF: it has no frame");
  width = Math.max(width, word(at + 1) + word(at + 5));
  height = Math.max(height, word(at + 3) + word(at + 7));
  return [width, height];
}

/**
 * Format and claimed size of an image file, without decoding it.
 *
 * @throws {ImageDecodeError} if the format is unknown or not supported, the header is broken
 *   or a side is 0
 */
export function readImageHeader(bytes: Uint8Array): ImageHeader {
  if (bytes.length === 0) throw new ImageDecodeError("Cannot decode an image: it has no bytes");
  const format = formatName(bytes);
  if (!isDecodable(format)) {
    const first = [...bytes.subarray(0, 8)].map((b) => b.toString(16).padStart(2, "0")).join(" ");
    throw new ImageDecodeError(
      format === null
        ? `Cannot decode an image: its first bytes (${first}) are those of no known format; ` +
          `wanted PNG, JPEG, GIF, WebP, BMP or TIFF`
        : `Cannot decode ${
          /^(AVIF|ICO|SVG)$/.test(format) ? "an" : "a"
        } ${format}: only PNG, JPEG, GIF, WebP, BMP and TIFF can be read; ` +
          `convert it first`,
    );
  }
  const [width, height] = SIZES[format](bytes);
  if (width <= 0 || height <= 0) {
    throw new ImageDecodeError(`Cannot decode a ${format}: it claims ${width} x ${height} pixels`);
  }
  const orientation = imageOrientation(bytes, format);
  return swapsSides(orientation)
    ? { format, width: height, height: width, orientation }
    : { format, width, height, orientation };
}

const SIZES: Readonly<Record<ImageFormat, (bytes: Uint8Array) => [number, number]>> = {
  PNG: pngSize,
  JPEG: jpegSize,
  GIF: gifSize,
  WebP: webpSize,
  BMP(bytes) {
    const { width, height } = readBmpHeader(bytes);
    return [width, height];
  },
  TIFF: tiffSize,
};

function isDecodable(format: string | null): format is ImageFormat {
  return format !== null && format in SIZES;
}
