/**
 * Image files to pixels, with nothing decoded before its size was checked.
 *
 * @module
 */
import { decodeBmp } from "./decoders/bmp.ts";
import { decodeGif } from "./decoders/gif.ts";
import { loadRasterDecoder, type RasterDecoder } from "./decoders/raster_decoder.ts";
import { rgbOfRgba } from "./decoders/rgb_of_rgba.ts";
import { decodeTiff } from "./decoders/tiff.ts";
import { decodeWebp } from "./decoders/webp.ts";
import {
  ImageDecodeError,
  type ImageFormat,
  type ImageHeader,
  readImageHeader,
} from "./image_header.ts";
import { upright } from "./orientation.ts";
import type { RgbImage } from "./rgb_image.ts";

/**
 * Most pixels that are decoded (8192 x 8192); a decoded image of that size takes 0.5 GB. Pillow
 * warns from 89 million on and refuses above 179 million.
 */
export const MAX_IMAGE_PIXELS = 8192 * 8192;

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

/** A PNG without the chunks of its animation: its default image alone, which Pillow shows. */
function withoutAnimation(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept: Uint8Array[] = [bytes.subarray(0, 8)];
  let isAnimated = false;
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 12 + view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (ANIMATION_CHUNKS.includes(name)) isAnimated = true;
    else kept.push(bytes.subarray(at, Math.min(end, bytes.length)));
    at = end;
  }
  if (!isAnimated) return bytes;
  const file = new Uint8Array(kept.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of kept) {
    file.set(chunk, at);
    at += chunk.length;
  }
  return file;
}

const ANIMATION_CHUNKS = ["acTL", "fcTL", "fdAT"];

/** A JPEG that was cut decodes to grey below the cut; its end marker is missing. */
function jpegIsCut(bytes: Uint8Array): boolean {
  for (let at = bytes.length - 2; at >= 2; at--) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return false;
  }
  return true;
}

/**
 * Decodes a PNG, JPEG, GIF, WebP, BMP or TIFF (its first frame or page) to 8-bit RGB, upright.
 *
 * Alpha is dropped without compositing, palettes are expanded, 16-bit samples are scaled to 8
 * bits (ours: Pillow clips 16-bit grey), and the picture is turned by its EXIF orientation, as
 * `datasets` does. All come out exactly as Pillow's `Image.open(…).convert("RGB")`; JPEG differs by
 * up to 3 levels (another IDCT).
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
  const header = readImageHeader(bytes);
  const { format, width, height, orientation } = header;
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
  const decoder = format === "WebP" || format === "BMP" || format === "TIFF"
    ? null
    : await loadRasterDecoder();
  try {
    const image = decoder === null
      ? await decodeWith(bytes, format)
      : await decodeRaster(bytes, header, decoder.decode);
    return upright(image, orientation);
  } catch (error) {
    if (error instanceof ImageDecodeError) throw error;
    // A trap of the decoder's wasm lands here too; each call has an instance of its own.
    const reason = error instanceof Error ? error.message : String(error);
    throw new ImageDecodeError(
      `Cannot decode a ${format} of ${bytes.length} bytes (${width} x ${height}): its data is corrupt (${reason})`,
    );
  }
}

/** Formats that libraries of their own decode. */
function decodeWith(bytes: Uint8Array, format: ImageFormat): Promise<RgbImage> {
  if (format === "WebP") return decodeWebp(bytes);
  return format === "BMP" ? decodeBmp(bytes) : decodeTiff(bytes);
}

/** PNG, JPEG and GIF, by imagescript. */
async function decodeRaster(
  bytes: Uint8Array,
  { format, width, height }: ImageHeader,
  decode: RasterDecoder["decode"],
): Promise<RgbImage> {
  const decoded = async (file: Uint8Array) => {
    const frames = await decode(file, true);
    const image = "bitmap" in frames ? frames : frames[0];
    if (image === undefined) throw new ImageDecodeError(`Cannot decode a ${format}: it is empty`);
    return image;
  };
  if (format === "GIF") {
    return await decodeGif(bytes, width, height, async (file) => (await decoded(file)).bitmap);
  }
  const image = await decoded(format === "PNG" ? withoutAnimation(bytes) : bytes);
  const pixels = image.width * image.height;
  const rgba = image.bitmap;
  const data = rgbOfRgba(rgba, pixels);
  const key = format === "PNG" ? pngColorKey(bytes) : null;
  if (key !== null) {
    for (let i = 0; i < pixels; i++) if (rgba[4 * i + 3] === 0) data.set(key, 3 * i);
  }
  return { width: image.width, height: image.height, data };
}
