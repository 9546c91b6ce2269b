/**
 * The pictures of an environment's replies: files, pixels, or parts of pictures that are there.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { encodePng } from "../../../data/embedded/embedded_shapes_png.ts";
import type { EncodedImage } from "../../../data/rows/image_cell.ts";
import { decodeImage } from "../../../image/decode_image.ts";
import { readImageHeader } from "../../../image/image_header.ts";
import type { ProcessedImage } from "../../../image/image_processor.ts";
import type { RgbImage } from "../../../image/rgb_image.ts";
import type { EnvironmentPicture } from "../../../rewards/environment/types.ts";
import type { TileCache } from "../../batches/tile_cache.ts";

/** Pixels of a file that an environment gives. */
const MAX_PIXELS = 4096 * 4096;
/** Decoded pictures that are kept for further crops. */
const DECODED = 16;
/** Pictures whose tiles are kept: replies are often alike. */
const PROCESSED = 256;

/** Values by key, the latest ones. */
class Latest<K, V> {
  readonly #values = new Map<K, V>();

  constructor(readonly most: number) {}

  get(key: K, make: () => V): V {
    const value = this.#values.get(key) ?? make();
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size > this.most) this.#values.delete(this.#values.keys().next().value!);
    return value;
  }
}

/** A rectangle of a picture: the part of the box that lies within it. */
function crop(image: RgbImage, box: readonly [number, number, number, number]): RgbImage {
  const within = (value: number, most: number) => Math.min(Math.max(Math.round(value), 0), most);
  const left = within(box[0], image.width), right = within(box[2], image.width);
  const top = within(box[1], image.height), bottom = within(box[3], image.height);
  const width = right - left, height = bottom - top;
  if (width < 1 || height < 1) {
    throw new TypeError(
      `Cannot crop ${
        JSON.stringify(box)
      }: nothing of it lies in the picture, which has ${image.width} x ${image.height} ` +
        "pixels; want [left, top, right, bottom]",
    );
  }
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { width, height, data };
}

/** @throws {TypeError} if a file claims more pixels than a reply's picture may have */
function checkSize(file: Uint8Array): Uint8Array {
  const { width, height } = readImageHeader(file);
  if (width * height <= MAX_PIXELS) return file;
  throw new TypeError(
    `Cannot use a picture of ${width} x ${height} pixels: want ${MAX_PIXELS} at most`,
  );
}

/** Makes the pictures of replies, and processes them for the model. */
export class EpisodePictures {
  readonly #decoded = new Latest<Uint8Array, Promise<RgbImage>>(DECODED);
  readonly #processed = new Latest<string, Promise<ProcessedImage>>(PROCESSED);

  /** @param tiles processes pictures as those of the data */
  constructor(readonly tiles: Pick<TileCache, "process">) {}

  /**
   * A reply's picture as a file's bytes.
   *
   * @param shown files of the conversation's pictures so far
   * @throws {TypeError} if there is no such picture, or nothing of it
   * @throws {ImageDecodeError} if the file, or the picture to crop, cannot be decoded
   */
  async encode(
    picture: EnvironmentPicture,
    shown: readonly Uint8Array[],
  ): Promise<Uint8Array> {
    if (picture instanceof Uint8Array) return checkSize(picture);
    if (!("crop" in picture)) {
      const { width, height, data } = picture;
      return encodePng({ width, height, data: Uint8Array.from(data) });
    }
    const source = shown[picture.image];
    if (source === undefined) {
      throw new TypeError(
        `Cannot crop picture ${picture.image}: the conversation has ${shown.length}, ` +
          "counted from 0",
      );
    }
    const decoded = await this.#decoded.get(source, () => decodeImage(source));
    return encodePng(crop(decoded, picture.crop));
  }

  /**
   * Tiles of files; equal files have the same object, so that they are encoded once.
   *
   * @throws {RowSkipped} if one cannot be used
   */
  async tilesOf(files: readonly Uint8Array[]): Promise<ProcessedImage[]> {
    return await Promise.all(files.map((bytes) => {
      const digest = createHash("sha256").update(bytes).digest("base64");
      return this.#processed.get(digest, () => this.#process(bytes));
    }));
  }

  async #process(bytes: Uint8Array): Promise<ProcessedImage> {
    const image: EncodedImage = { bytes, name: "a picture of the environment" };
    const [processed] = await this.tiles.process([image], null);
    return processed;
  }
}
