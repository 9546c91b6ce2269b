/**
 * Images to the tiles that the vision encoder sees.
 *
 * @module
 */
// N tiles of an image, S side of a tile
import { makeFolder, writeJsonFile } from "../json_file.ts";
import { defaultVLMConfig, type VLMConfig } from "../vlm_config.ts";
import { antialiasResize } from "./antialias_resize.ts";
import { decodeImage, MAX_IMAGE_PIXELS } from "./decode_image.ts";
import { dynamicSize } from "./dynamic_size.ts";
import { pillowResize } from "./pillow_resize.ts";
import type { RgbImage } from "./rgb_image.ts";

/** How an `ImageProcessor` works. */
export interface ImageProcessorOptions {
  /** Longest side after resizing, a multiple of `splitImageSize`: the config's `max_img_size`. */
  maxImgSize: number;
  /** Side of a tile: the config's `vit_img_size`. */
  splitImageSize: number;
  /** Bring the longer side to `maxImgSize` even if it is shorter. */
  resizeToMaxSideLen: boolean;
  /** Put a small copy of the whole picture before the tiles if there are several (default: true). */
  globalTile?: boolean;
  /** Per channel, subtracted and divided after scaling to 0…1; nanoVLM does neither (default). */
  normalize?: { mean: readonly number[]; std: readonly number[] };
  /** Refuse files that claim more pixels (default: `MAX_IMAGE_PIXELS`). */
  maxPixels?: number;
}

/** The tiles of one image. */
export interface ProcessedImage {
  /** [N, 3, S, S], the global tile first if there is one, then row by row. */
  tiles: Float32Array;
  /** N. */
  tileCount: number;
  /** S. */
  tileSize: number;
  /** Rows and columns of tiles; the global tile is not counted. */
  grid: [rows: number, columns: number];
  /** Of the resized picture, pixels. */
  width: number;
  /** Of the resized picture, pixels. */
  height: number;
}

/** 0…255 as float32 of 0…1, as torchvision's `ToTensor` gives it. */
const UNIT = Float32Array.from({ length: 256 }, (_, level) => level / 255);

const CONFIG_FILE = "preprocessor_config.json";

/** The [3, height, width] float planes of an image. */
function toPlanes(image: RgbImage): Float32Array {
  const pixels = image.width * image.height;
  const planes = new Float32Array(3 * pixels);
  for (let i = 0, from = 0; i < pixels; i++) {
    planes[i] = UNIT[image.data[from++]];
    planes[pixels + i] = UNIT[image.data[from++]];
    planes[2 * pixels + i] = UNIT[image.data[from++]];
  }
  return planes;
}

async function readJsonObject(path: string): Promise<Record<string, unknown> | null> {
  try {
    return parseJsonObject(await Deno.readTextFile(path), path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function parseJsonObject(text: string, path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return { ...value };
    }
  } catch {
    // told below
  }
  throw new Error(`Cannot read ${path}: it is not a JSON object`);
}

/**
 * nanoVLM's image processor: Pillow's bicubic resize to a multiple of the tile, scaled to 0…1,
 * cut into tiles, a small copy of the whole picture before them if there are several.
 *
 * @example Process a picture made by hand
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ImageProcessor } from "./image_processor.ts";
 *
 * const processor = new ImageProcessor({
 *   maxImgSize: 64,
 *   splitImageSize: 32,
 *   resizeToMaxSideLen: false,
 * });
 * const image = { width: 40, height: 20, data: new Uint8Array(40 * 20 * 3).fill(255) };
 * const { grid, tileCount } = await processor.process(image);
 * assertEquals(grid, [1, 2]);
 * assertEquals(tileCount, 3); // the whole, then left and right
 * ```
 */
export class ImageProcessor {
  /** The options, defaults filled in; `normalize` is null if nothing is normalised. */
  readonly options: Readonly<
    Required<Omit<ImageProcessorOptions, "normalize">> & {
      normalize: { mean: readonly number[]; std: readonly number[] } | null;
    }
  >;

  /** Place of the small copy of the whole picture among the tiles, if there is one. */
  readonly wholeTile: "first" | "last" = "first";

  /** @throws {RangeError} if a size is not a positive integer or a std is 0 */
  constructor(options: ImageProcessorOptions) {
    for (const key of ["maxImgSize", "splitImageSize"] as const) {
      if (!Number.isInteger(options[key]) || options[key] < 1) {
        throw new RangeError(
          `Cannot make an image processor: ${key} is ${
            options[key]
          }, want a whole number from 1 on`,
        );
      }
    }
    const normalize = options.normalize ?? null;
    if (normalize !== null) {
      const { mean, std } = normalize;
      const usable = mean.length === 3 && std.length === 3 && mean.every(Number.isFinite) &&
        std.every((value) => Number.isFinite(value) && value !== 0);
      if (!usable) {
        throw new RangeError(
          `Cannot make an image processor: image_mean [${mean}] and image_std [${std}], want ` +
            `three numbers each, no std of 0`,
        );
      }
    }
    this.options = {
      maxImgSize: options.maxImgSize,
      splitImageSize: options.splitImageSize,
      resizeToMaxSideLen: options.resizeToMaxSideLen,
      globalTile: options.globalTile ?? true,
      maxPixels: options.maxPixels ?? MAX_IMAGE_PIXELS,
      normalize,
    };
  }

  /**
   * The level of a pixel, 0 … 255, that a tile's value was made of.
   *
   * @param value of a tile
   * @param channel 0 red, 1 green, 2 blue
   */
  toLevel(value: number, channel: number): number {
    const { normalize } = this.options;
    const unit = normalize === null
      ? value
      : value * normalize.std[channel] + normalize.mean[channel];
    return Math.min(255, Math.max(0, Math.round(255 * unit)));
  }

  /** The values that a tile has for the levels 0 and 255 of a channel: 0 red, 1 green, 2 blue. */
  pixelRange(channel: number): readonly [low: number, high: number] {
    const { normalize } = this.options;
    if (normalize === null) return [0, 1];
    const mean = normalize.mean[channel], std = normalize.std[channel];
    return [-mean / std, (1 - mean) / std];
  }

  /**
   * The processor of a model.
   *
   * @param config the model's
   * @param more `globalTile` (false if the tokenizer lacks the token), `normalize`, `maxPixels`
   */
  static fromConfig(
    config: Pick<VLMConfig, "max_img_size" | "vit_img_size" | "resize_to_max_side_len">,
    more: Pick<ImageProcessorOptions, "globalTile" | "normalize" | "maxPixels"> = {},
  ): ImageProcessor {
    return new ImageProcessor({
      maxImgSize: config.max_img_size,
      splitImageSize: config.vit_img_size,
      resizeToMaxSideLen: config.resize_to_max_side_len,
      ...more,
    });
  }

  /**
   * Reads preprocessor_config.json of a model folder, and config.json for what it lacks.
   *
   * @throws {Error} if neither file tells the sizes
   */
  static async fromPretrained(dir: string): Promise<ImageProcessor> {
    const own = await readJsonObject(`${dir}/${CONFIG_FILE}`) ?? {};
    return ImageProcessor.#fromSettings(own, await readJsonObject(`${dir}/config.json`), dir);
  }

  /**
   * Like {@linkcode ImageProcessor.fromPretrained}, from the texts of the files.
   *
   * @param texts by the names of the files
   * @param config the model's, for what preprocessor_config.json lacks
   * @param source where the texts come from, for messages
   * @throws {Error} if preprocessor_config.json is no JSON object, or has wrong values
   */
  static fromTexts(
    texts: ReadonlyMap<string, string>,
    config: VLMConfig,
    source: string,
  ): ImageProcessor {
    const own = parseJsonObject(texts.get(CONFIG_FILE) ?? "{}", `${source}/${CONFIG_FILE}`);
    return ImageProcessor.#fromSettings(own, { ...config }, source);
  }

  static #fromSettings(
    own: Record<string, unknown>,
    config: Record<string, unknown> | null,
    dir: string,
  ): ImageProcessor {
    // What a nanoVLM config leaves out has nanoVLM's default.
    const model: Record<string, unknown> = config === null
      ? {}
      : { ...defaultVLMConfig(), ...config };
    const size = (key: string, fallback: string): number => {
      const value = own[key] ?? model[fallback];
      if (typeof value === "number") return value;
      throw new Error(
        `Cannot load an image processor from ${dir}: neither ${CONFIG_FILE} has a numeric ` +
          `"${key}" nor config.json a "${fallback}"; got ${JSON.stringify(value)}`,
      );
    };
    const numbers = (key: string): number[] => {
      const value = own[key];
      if (Array.isArray(value) && value.every((v) => typeof v === "number")) return value;
      throw new Error(
        `Cannot load an image processor from ${dir}: ${CONFIG_FILE} has do_normalize and ` +
          `"${key}" ${JSON.stringify(value)}, want three numbers`,
      );
    };
    const toMax = own.resize_to_max_side_len ?? model.resize_to_max_side_len ?? false;
    const base = {
      maxImgSize: size("max_img_size", "max_img_size"),
      splitImageSize: size("splitted_image_size", "vit_img_size"),
      resizeToMaxSideLen: toMax === true,
      globalTile: own.global_tile !== false,
    };
    return new ImageProcessor(
      own.do_normalize === true
        ? { ...base, normalize: { mean: numbers("image_mean"), std: numbers("image_std") } }
        : base,
    );
  }

  /**
   * Writes preprocessor_config.json.
   *
   * @param dir created if missing
   * @throws {SaveError} if the disk is full, read-only or forbidden
   */
  async save(dir: string): Promise<void> {
    const { normalize } = this.options;
    const config = {
      image_processor_type: "NanoVLMImageProcessor",
      max_img_size: this.options.maxImgSize,
      splitted_image_size: this.options.splitImageSize,
      resize_to_max_side_len: this.options.resizeToMaxSideLen,
      global_tile: this.options.globalTile,
      resample: 3, // Pillow's number for bicubic
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: normalize !== null,
      image_mean: normalize?.mean ?? null,
      image_std: normalize?.std ?? null,
    };
    await makeFolder(dir);
    await writeJsonFile(`${dir}/${CONFIG_FILE}`, config);
  }

  /**
   * Decodes and resizes and cuts an image.
   *
   * @param image a PNG, JPEG or GIF file, or pixels
   * @throws {ImageDecodeError} if the file cannot be decoded
   */
  async process(image: Uint8Array | RgbImage): Promise<ProcessedImage> {
    return this.toTiles(await this.resize(image));
  }

  /**
   * The grid and the tiles of a picture of that size, without its pixels.
   *
   * @param width pixels
   * @param height pixels
   */
  layout(width: number, height: number): { grid: [rows: number, columns: number]; tiles: number } {
    const { maxImgSize, splitImageSize: S, resizeToMaxSideLen, globalTile } = this.options;
    const size = dynamicSize(width, height, S, maxImgSize, resizeToMaxSideLen);
    const grid: [number, number] = [size.height / S, size.width / S];
    const cut = grid[0] * grid[1];
    return { grid, tiles: cut > 1 && globalTile ? cut + 1 : cut };
  }

  /** What a thread runs to do the same: a module that exports `serveImages`, and its options. */
  get worker(): { readonly module: string; readonly options: unknown } {
    return { module: new URL("./image_worker.ts", import.meta.url).href, options: this.options };
  }

  /**
   * The first half of `process`: pixels of the size that is cut into tiles. A quarter of the
   * tiles' bytes or less, so worth caching if images are used again.
   *
   * @throws {ImageDecodeError} if the file cannot be decoded
   */
  async resize(image: Uint8Array | RgbImage): Promise<RgbImage> {
    const { maxImgSize, splitImageSize, resizeToMaxSideLen, maxPixels } = this.options;
    const rgb = image instanceof Uint8Array ? await decodeImage(image, { maxPixels }) : image;
    if (rgb.data.length !== rgb.width * rgb.height * 3 || rgb.data.length === 0) {
      throw new RangeError(
        `Cannot process pixels: got ${rgb.data.length} bytes for ${rgb.width} x ${rgb.height}, ` +
          `want ${rgb.width * rgb.height * 3}`,
      );
    }
    const size = dynamicSize(
      rgb.width,
      rgb.height,
      splitImageSize,
      maxImgSize,
      resizeToMaxSideLen,
    );
    return pillowResize(rgb, size.width, size.height);
  }

  /**
   * The second half of `process`.
   *
   * @param image what `resize` gave
   * @throws {RangeError} if its sides are not multiples of the tile
   */
  toTiles(image: RgbImage): ProcessedImage {
    const S = this.options.splitImageSize;
    const { width, height } = image;
    if (width % S !== 0 || height % S !== 0) {
      throw new RangeError(
        `Cannot cut ${width} x ${height} pixels into tiles of ${S}: max_img_size ` +
          `(${this.options.maxImgSize}) has to be a multiple of vit_img_size`,
      );
    }
    const rows = height / S, columns = width / S;
    const withGlobal = this.options.globalTile && rows * columns > 1;
    const tileCount = rows * columns + (withGlobal ? 1 : 0);
    const planes = toPlanes(image); // [3, height, width]
    const tiles = new Float32Array(tileCount * 3 * S * S); // [N, 3, S, S]
    let to = 0;
    if (withGlobal) {
      for (let channel = 0; channel < 3; channel++) {
        const plane = planes.subarray(channel * width * height, (channel + 1) * width * height);
        tiles.set(antialiasResize(plane, width, height, S, S), to);
        to += S * S;
      }
    }
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        for (let channel = 0; channel < 3; channel++) {
          for (let y = 0; y < S; y++, to += S) {
            const from = (channel * height + row * S + y) * width + column * S;
            tiles.set(planes.subarray(from, from + S), to);
          }
        }
      }
    }
    this.#normalize(tiles);
    return { tiles, tileCount, tileSize: S, grid: [rows, columns], width, height };
  }

  #normalize(tiles: Float32Array): void {
    const { normalize, splitImageSize } = this.options;
    if (normalize === null) return;
    const plane = splitImageSize * splitImageSize;
    for (let i = 0; i < tiles.length; i++) {
      const channel = Math.floor(i / plane) % 3;
      tiles[i] = (tiles[i] - normalize.mean[channel]) / normalize.std[channel];
    }
  }
}
