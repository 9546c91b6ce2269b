/**
 * BMP files as Pillow reads them: 1, 4, 8, 24 and 32 bits, either direction of rows.
 *
 * @module
 */
import { ImageDecodeError } from "../image_decode_error.ts";
import type { RgbImage } from "../rgb_image.ts";
import { rgbOfRgba } from "./rgb_of_rgba.ts";

/** The header of a BMP. */
export interface BmpHeader {
  readonly width: number;
  readonly height: number;
  /** Whether the first row in the file is the top one. */
  readonly topDown: boolean;
  readonly bits: number;
  readonly pixelOffset: number;
  readonly paletteOffset: number;
  /** 3 in the old headers of OS/2, else 4. */
  readonly paletteEntryBytes: number;
  readonly colors: number;
}

const COMPRESSIONS = ["none", "RLE8", "RLE4", "bit fields", "JPEG", "PNG"];

/**
 * Reads the header.
 *
 * @throws {ImageDecodeError} if it is cut, or of a kind that is not supported
 */
export function readBmpHeader(bytes: Uint8Array): BmpHeader {
  if (bytes.length < 26) throw cut(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = view.getUint32(14, true);
  const pixelOffset = view.getUint32(10, true);
  const isOld = headerBytes === 12;
  if (!isOld && (headerBytes < 40 || bytes.length < 54)) {
    if (bytes.length < 54) throw cut(bytes);
    throw unsupported(`a header of ${headerBytes} bytes`);
  }
  const bits = view.getUint16(isOld ? 24 : 28, true);
  const width = isOld ? view.getUint16(18, true) : view.getInt32(18, true);
  const height = isOld ? view.getUint16(20, true) : view.getInt32(22, true);
  const compression = isOld ? 0 : view.getUint32(30, true);
  const wanted = isOld ? [1, 4, 8, 24] : [1, 4, 8, 24, 32];
  if (!wanted.includes(bits)) throw unsupported(`${bits} bits a pixel`);
  if (compression === 3 && bits === 32) {
    if (bytes.length < 66) throw cut(bytes);
    const masks = [54, 58, 62].map((at) => view.getUint32(at, true));
    if (masks[0] !== 0xff0000 || masks[1] !== 0xff00 || masks[2] !== 0xff) {
      throw unsupported("its order of colours");
    }
  } else if (compression !== 0) {
    throw unsupported(`compression ${COMPRESSIONS[compression] ?? compression}`);
  }
  const maskBytes = compression === 3 && headerBytes === 40 ? 12 : 0;
  const used = isOld ? 0 : view.getUint32(46, true);
  return {
    width,
    height: Math.abs(height),
    topDown: height < 0,
    bits,
    pixelOffset,
    paletteOffset: 14 + headerBytes + maskBytes,
    paletteEntryBytes: isOld ? 3 : 4,
    colors: bits > 8 ? 0 : used > 0 ? Math.min(used, 1 << bits) : 1 << bits,
  };
}

function cut(bytes: Uint8Array): ImageDecodeError {
  return new ImageDecodeError(
    `Cannot decode a BMP: it ends within its header, after ${bytes.length} bytes`,
  );
}

function unsupported(what: string): ImageDecodeError {
  return new ImageDecodeError(
    `Cannot decode a BMP: ${what} is not supported, want 1, 4, 8, 24 or 32 bits without ` +
      "compression; convert it first",
  );
}

/**
 * Decodes a BMP. The decoder knows one form of header alone: it gets the file in that form.
 *
 * @throws {ImageDecodeError} if its data is cut, or of a kind that is not supported
 */
export async function decodeBmp(bytes: Uint8Array): Promise<RgbImage> {
  const header = readBmpHeader(bytes);
  const { width, height, bits, colors, paletteOffset, paletteEntryBytes, pixelOffset } = header;
  const rowBytes = Math.ceil(width * bits / 32) * 4;
  const pixels = bytes.subarray(pixelOffset, pixelOffset + rowBytes * height);
  const isPaletteCut = paletteOffset + colors * paletteEntryBytes > bytes.length;
  if (pixels.length < rowBytes * height || isPaletteCut) {
    throw new ImageDecodeError(
      `Cannot decode a BMP of ${bytes.length} bytes (${width} x ${height}): its data is cut`,
    );
  }
  const start = 54 + 4 * colors;
  const file = new Uint8Array(start + pixels.length);
  const view = new DataView(file.buffer);
  file.set([0x42, 0x4d]);
  view.setUint32(2, file.length, true);
  view.setUint32(10, start, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true);
  view.setUint16(28, bits, true);
  view.setUint32(34, pixels.length, true);
  view.setUint32(46, colors, true);
  for (let i = 0; i < colors; i++) {
    const from = paletteOffset + i * paletteEntryBytes;
    file.set(bytes.subarray(from, from + 3), 54 + 4 * i);
  }
  // In the file the bottom row is the first.
  for (let y = 0; y < height; y++) {
    const from = header.topDown ? height - 1 - y : y;
    file.set(pixels.subarray(from * rowBytes, (from + 1) * rowBytes), start + y * rowBytes);
  }
  const { default: decode } = await import("decode-bmp");
  const decoded = decode(file);
  return { width, height, data: rgbOfRgba(decoded.data, width * height) };
}
