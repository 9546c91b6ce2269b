/**
 * Image files to pixels, with nothing decoded before its size was checked.
 *
 * @module
 */
import type * as ImageScript from "imagescript";
import { ImageDecodeError, readImageHeader } from "./image_header.ts";
import type { RgbImage } from "./rgb_image.ts";

/**
 * Most pixels that are decoded (8192 x 8192); a decoded image of that size takes 0.5 GB. Pillow
 * warns from 89 million on and refuses above 179 million.
 */
export const MAX_IMAGE_PIXELS = 8192 * 8192;

type Decoder = Pick<typeof ImageScript, "decode">;

let decoder: Promise<Decoder> | null = null;

/** Loads imagescript on first use: that takes 40 ms and a native library. */
function loadDecoder(): Promise<Decoder> {
  decoder ??= import("imagescript").catch((error) => {
    decoder = null;
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `Cannot load the image decoder (imagescript): ${reason}; ` +
        `it needs --allow-read, --allow-env and --allow-ffi`,
    );
  });
  return decoder;
}

/**
 * Colour of a PNG that is transparent wherever it has exactly that colour (chunk tRNS of grey and
 * RGB files), at 8 bits; null if the file has none. The decoder paints such pixels black,
 * Pillow keeps them.
 */
function pngColorKey(bytes: Uint8Array): [number, number, number] | null {
  const depth = bytes[24], colorType = bytes[25];
  if (colorType !== 0 && colorType !== 2) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 33; at + 12 <= bytes.length;) {
    const length = view.getUint32(at), type = view.getUint32(at + 4);
    if (type === 0x49444154) return null; // IDAT
    if (type === 0x74524e53 && at + 8 + length <= bytes.length) { // tRNS
      const sample = (index: number) => {
        const value = view.getUint16(at + 8 + 2 * index);
        if (depth === 16) return value >> 8;
        return Math.floor((value & ((1 << depth) - 1)) * 255 / ((1 << depth) - 1));
      };
      if (colorType === 0 && length >= 2) return [sample(0), sample(0), sample(0)];
      if (colorType === 2 && length >= 6) return [sample(0), sample(1), sample(2)];
      return null;
    }
    at += 12 + length;
  }
  return null;
}

/** A JPEG that was cut decodes to grey below the cut; its end marker is missing. */
function jpegIsCut(bytes: Uint8Array): boolean {
  for (let at = bytes.length - 2; at >= 2; at--) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return false;
  }
  return true;
}

/**
 * Decodes a PNG, JPEG or GIF (its first frame) to 8-bit RGB.
 *
 * Alpha is dropped without compositing, palettes are expanded, 16-bit samples are scaled to 8
 * bits, and the EXIF orientation is left alone, as Pillow's `Image.open(…).convert("RGB")` does.
 * PNG and GIF come out exactly as Pillow's; JPEG differs by up to 3 levels (another IDCT).
 *
 * @param bytes the file
 * @param options `maxPixels`: refuse files that claim more (default: `MAX_IMAGE_PIXELS`)
 * @throws {ImageDecodeError} if the file is corrupt, cut, too large or of another format
 * @throws {Error} if the decoder itself cannot be loaded
 */
export async function decodeImage(
  bytes: Uint8Array,
  options: { maxPixels?: number } = {},
): Promise<RgbImage> {
  const { format, width, height } = readImageHeader(bytes);
  const maxPixels = options.maxPixels ?? MAX_IMAGE_PIXELS;
  if (width * height > maxPixels) {
    throw new ImageDecodeError(
      `Cannot decode a ${format} of ${bytes.length} bytes: it claims ${width} x ${height} pixels, ` +
        `more than the ${maxPixels} allowed; scale it down first`,
    );
  }
  if (format === "JPEG" && jpegIsCut(bytes)) {
    throw new ImageDecodeError(
      `Cannot decode a JPEG of ${bytes.length} bytes: it is cut, its end marker is missing`,
    );
  }
  const { decode } = await loadDecoder();
  let decoded: ImageScript.Image | ImageScript.GIF;
  try {
    decoded = await decode(bytes, true);
  } catch (error) {
    // A trap of the decoder's wasm lands here too; each call has an instance of its own.
    const reason = error instanceof Error ? error.message : String(error);
    throw new ImageDecodeError(
      `Cannot decode a ${format} of ${bytes.length} bytes (${width} x ${height}): its data is corrupt (${reason})`,
    );
  }
  const image = "bitmap" in decoded ? decoded : decoded[0];
  if (image === undefined) throw new ImageDecodeError(`Cannot decode a ${format}: it has no frame`);
  const pixels = image.width * image.height;
  const rgba = image.bitmap;
  const data = new Uint8Array(pixels * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  const key = format === "PNG" ? pngColorKey(bytes) : null;
  if (key !== null) {
    for (let i = 0; i < pixels; i++) if (rgba[4 * i + 3] === 0) data.set(key, 3 * i);
  }
  return { width: image.width, height: image.height, data };
}
