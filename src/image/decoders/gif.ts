/**
 * The first frame of a GIF, as Pillow's `Image.open(…).convert("RGB")` gives it.
 *
 * @module
 */
import { ImageDecodeError } from "../image_decode_error.ts";
import type { RgbImage } from "../rgb_image.ts";
import { rgbOfRgba } from "./rgb_of_rgba.ts";

/** Where the flag for transparency is, and the frame's rectangle. */
interface FirstFrame {
  /** Offset of the flags of the graphic control extension; null if there is none. */
  readonly controlFlags: number | null;
  /** Offset of the image descriptor. */
  readonly descriptor: number;
}

/** Finds the first frame's descriptor. `readImageHeader` has checked that there is one. */
function firstFrame(bytes: Uint8Array): FirstFrame {
  let at = 13 + (bytes[10] & 0x80 ? 3 << ((bytes[10] & 7) + 1) : 0);
  let controlFlags: number | null = null;
  while (bytes[at] === 0x21) {
    if (bytes[at + 1] === 0xf9) controlFlags = at + 3;
    at += 2;
    while (at < bytes.length && bytes[at] !== 0) at += 1 + bytes[at];
    at++;
  }
  return { controlFlags, descriptor: at };
}

/** The colour table of the first frame: its own, or that of the file. */
function colorTable(bytes: Uint8Array, descriptor: number): Uint8Array {
  const table = (at: number, flags: number) => bytes.subarray(at, at + (3 << ((flags & 7) + 1)));
  const own = bytes[descriptor + 9];
  if (own & 0x80) return table(descriptor + 10, own);
  if (bytes[10] & 0x80) return table(13, bytes[10]);
  throw new ImageDecodeError("Cannot decode a GIF: its first frame has no colour table");
}

/** Decodes a GIF of one frame to RGBA. */
export type DecodeFrame = (file: Uint8Array) => Promise<Uint8Array | Uint8ClampedArray>;

/**
 * Decodes the first frame. Transparent pixels keep the colour of their palette entry. Pixels
 * outside the frame have the transparent entry's colour, or else entry 0's, as in Pillow.
 *
 * @param bytes the file, whose header was read
 * @param width of the result: the screen, or the frame if it is larger
 * @param height of the result
 * @param decodeFrame the decoder
 * @throws {ImageDecodeError} if the data is cut, or the frame has no colour table
 */
export async function decodeGif(
  bytes: Uint8Array,
  width: number,
  height: number,
  decodeFrame: DecodeFrame,
): Promise<RgbImage> {
  const { controlFlags, descriptor } = firstFrame(bytes);
  const word = (at: number) => bytes[at] | bytes[at + 1] << 8;
  const [left, top] = [word(descriptor + 1), word(descriptor + 3)];
  const [frameWidth, frameHeight] = [word(descriptor + 5), word(descriptor + 7)];
  const table = colorTable(bytes, descriptor);
  // The decoder leaves transparent pixels and those outside the frame black. It gets a copy
  // without transparency, whose screen is the frame: then it writes every pixel, or the file is cut.
  const copy = bytes.slice();
  const isTransparent = controlFlags !== null && (bytes[controlFlags] & 1) === 1;
  const outside = 3 * (isTransparent ? bytes[controlFlags! + 3] : 0);
  if (controlFlags !== null) copy[controlFlags] &= ~1;
  copy.set(bytes.subarray(descriptor + 5, descriptor + 9), 6);
  copy.fill(0, descriptor + 1, descriptor + 5);
  const rgba = await decodeFrame(copy);
  const isShort = rgba.length !== frameWidth * frameHeight * 4;
  if (isShort || rgba.some((value, i) => i % 4 === 3 && value !== 255)) {
    throw new ImageDecodeError(
      `Cannot decode a GIF of ${bytes.length} bytes: its data ends before the first frame does`,
    );
  }
  const data = new Uint8Array(width * height * 3);
  if (outside < table.length) fillWith(data, table.subarray(outside, outside + 3));
  const frame = rgbOfRgba(rgba, frameWidth * frameHeight);
  for (let y = 0; y < frameHeight; y++) {
    const row = frame.subarray(y * frameWidth * 3, (y + 1) * frameWidth * 3);
    data.set(row, ((y + top) * width + left) * 3);
  }
  return { width, height, data };
}

/** Repeats a colour over all pixels. */
function fillWith(data: Uint8Array, color: Uint8Array): void {
  if (data.length === 0) return;
  data.set(color);
  for (let filled = 3; filled < data.length; filled *= 2) data.copyWithin(filled, 0, filled);
}
