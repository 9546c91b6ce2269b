/**
 * WebP files: libwebp, as in Pillow; of an animation, the first frame.
 *
 * Source: https://developers.google.com/speed/webp/docs/riff_container
 *
 * @module
 */
import { ImageDecodeError } from "../image_decode_error.ts";
import type { RgbImage } from "../rgb_image.ts";
import { rgbOfRgba } from "./rgb_of_rgba.ts";
import { loadWebpDecoder } from "./webp_decoder.ts";

/** A chunk of a RIFF file. */
export interface WebpChunk {
  /** Four letters. */
  readonly name: string;
  readonly data: Uint8Array;
}

/** The chunks of a file, or of a part of one. */
export function* webpChunks(bytes: Uint8Array, start = 12): Generator<WebpChunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = start; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    yield {
      name: String.fromCharCode(...bytes.subarray(at, at + 4)),
      data: bytes.subarray(at + 8, Math.min(bytes.length, at + 8 + length)),
    };
    at += 8 + length + (length & 1);
  }
}

const uint24 = (data: Uint8Array, at: number) => data[at] | data[at + 1] << 8 | data[at + 2] << 16;

/**
 * Width and height of the canvas.
 *
 * @throws {ImageDecodeError} if there is no picture in the file
 */
export function webpSize(bytes: Uint8Array): [width: number, height: number] {
  for (const { name, data } of webpChunks(bytes)) {
    if (name === "VP8X" && data.length >= 10) return [uint24(data, 4) + 1, uint24(data, 7) + 1];
    if (name === "VP8L" && data.length >= 5) {
      const bits = data[1] | data[2] << 8 | data[3] << 16 | data[4] << 24;
      return [(bits & 0x3fff) + 1, (bits >>> 14 & 0x3fff) + 1];
    }
    if (name === "VP8 " && data.length >= 10) {
      return [(data[6] | data[7] << 8) & 0x3fff, (data[8] | data[9] << 8) & 0x3fff];
    }
  }
  throw new ImageDecodeError("Cannot decode a WebP: it has no picture, or is cut in its header");
}

/** A file of some chunks. */
function riff(chunks: readonly WebpChunk[]): Uint8Array {
  const parts = chunks.flatMap(({ name, data }) => {
    const head = new Uint8Array(8);
    head.set([...name].map((letter) => letter.charCodeAt(0)));
    new DataView(head.buffer).setUint32(4, data.length, true);
    return data.length % 2 === 1 ? [head, data, new Uint8Array(1)] : [head, data];
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const file = new Uint8Array(12 + length);
  file.set([..."RIFF....WEBP"].map((letter) => letter.charCodeAt(0)));
  new DataView(file.buffer).setUint32(4, 4 + length, true);
  let at = 12;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** The first frame of an animation as a file of its own, and its place; null if it is none. */
function firstFrame(bytes: Uint8Array): { file: Uint8Array; left: number; top: number } | null {
  for (const { name, data } of webpChunks(bytes)) {
    if (name !== "ANMF") continue;
    const [left, top] = [2 * uint24(data, 0), 2 * uint24(data, 3)];
    const chunks = [...webpChunks(data, 16)];
    const alpha = chunks.find((chunk) => chunk.name === "ALPH");
    const picture = chunks.find((chunk) => chunk.name === "VP8 " || chunk.name === "VP8L");
    if (picture === undefined) return null;
    if (alpha === undefined) return { file: riff([picture]), left, top };
    const canvas = new Uint8Array(10);
    canvas[0] = 0x10; // has alpha
    canvas.set(data.subarray(6, 12), 4);
    return { file: riff([{ name: "VP8X", data: canvas }, alpha, picture]), left, top };
  }
  return null;
}

/**
 * Decodes a WebP. What the first frame of an animation does not cover is black, as in Pillow.
 *
 * @throws {Error} if its data is corrupt or cut
 */
export async function decodeWebp(bytes: Uint8Array): Promise<RgbImage> {
  const decode = await loadWebpDecoder();
  const [width, height] = webpSize(bytes);
  const frame = firstFrame(bytes);
  if (frame === null) {
    const decoded = decode(bytes);
    return { width, height, data: rgbOfRgba(decoded.data, width * height) };
  }
  const decoded = decode(frame.file);
  const rgb = rgbOfRgba(decoded.data, decoded.width * decoded.height);
  const data = new Uint8Array(width * height * 3);
  const columns = Math.min(decoded.width, width - frame.left);
  for (let y = 0; y < Math.min(decoded.height, height - frame.top); y++) {
    const row = rgb.subarray(y * decoded.width * 3, (y * decoded.width + columns) * 3);
    data.set(row, ((y + frame.top) * width + frame.left) * 3);
  }
  return { width, height, data };
}
