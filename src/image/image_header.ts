/**
 * The header of an image file: its format and its size, before anything is decoded.
 *
 * @module
 */

/** Bytes that cannot be decoded: the row is skipped and counted. */
export class ImageDecodeError extends Error {
  override name = "ImageDecodeError";
}

/** Format and claimed size of an image file. */
export interface ImageHeader {
  format: "PNG" | "JPEG" | "GIF";
  /** In pixels, as claimed. */
  width: number;
  /** In pixels, as claimed. */
  height: number;
}

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
  if (startsWith(bytes, "ftypavif", 4)) return "AVIF";
  if (startsWith(bytes, "ftyphei", 4) || startsWith(bytes, "ftypmif1", 4)) return "HEIF";
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
  if (format !== "PNG" && format !== "JPEG" && format !== "GIF") {
    const first = [...bytes.subarray(0, 8)].map((b) => b.toString(16).padStart(2, "0")).join(" ");
    throw new ImageDecodeError(
      format === null
        ? `Cannot decode an image: its first bytes (${first}) are those of no known format; ` +
          `wanted PNG, JPEG or GIF`
        : `Cannot decode a ${format}: only PNG, JPEG and GIF can be read; convert it first`,
    );
  }
  const size = { PNG: pngSize, JPEG: jpegSize, GIF: gifSize }[format];
  const [width, height] = size(bytes);
  if (width === 0 || height === 0) {
    throw new ImageDecodeError(`Cannot decode a ${format}: it claims ${width} x ${height} pixels`);
  }
  return { format, width, height };
}
