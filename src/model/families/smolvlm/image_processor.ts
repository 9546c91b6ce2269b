/**
 * SmolVLM's image processor: the longest side to `size.longest_edge`, both sides to multiples of a
 * tile, then the tiles row by row and the whole picture, squeezed, behind them.
 *
 * Source: `image_processing_smolvlm.py` and `image_processing_idefics3.py` of Transformers.
 *
 * @module
 */
import { explainWriteError } from "../../../atomic_write.ts";
import { makeFolder } from "../../../json_file.ts";
import { decodeImage } from "../../../image/decode_image.ts";
import { ImageProcessor, type ProcessedImage } from "../../../image/image_processor.ts";
import { pillowResize, type ResizeFilter } from "../../../image/pillow_resize.ts";
import type { RgbImage } from "../../../image/rgb_image.ts";
import { ConfigReader } from "./config_reader.ts";

// N tiles of an image, S side of a tile

/** How SmolVLM turns pictures into tiles. */
export interface SmolVLMImageOptions {
  /** `size.longest_edge`: pixels of the longest side after the first resize. */
  readonly longestEdge: number;
  /** `max_image_size.longest_edge`, S: pixels of a tile's side. */
  readonly tileSize: number;
  /** `do_image_splitting`; false: each picture is one square tile. */
  readonly splitting: boolean;
  readonly filter: ResizeFilter;
  /** Each channel's value of each level, [3][256]. */
  readonly levels: readonly (readonly number[])[];
  /** Files by name that `save` writes as they are. */
  readonly savedFiles: Readonly<Record<string, string>>;
}

/** Transformers' limit for a side (`MAX_IMAGE_SIZE`). */
const MOST_PIXELS = 4096;

/** Pillow's numbers of its filters. */
const FILTERS: Readonly<Record<number, ResizeFilter>> = {
  1: "lanczos",
  2: "bilinear",
  3: "bicubic",
};

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Transformers' `get_resize_output_image_size`, with its truncations. */
function longestEdgeSize({ width, height }: Size, longest: number): Size {
  const ratio = width / height;
  const even = (side: number) => Math.max(1, side % 2 === 0 ? side : side + 1);
  let size = width >= height
    ? { width: longest, height: even(Math.trunc(longest / ratio)) }
    : { width: even(Math.trunc(longest * ratio)), height: longest };
  if (Math.max(size.width, size.height) > MOST_PIXELS) {
    const bounded = size.width / size.height;
    size = size.width >= size.height
      ? { width: MOST_PIXELS, height: Math.max(1, Math.trunc(MOST_PIXELS / bounded)) }
      : { width: Math.max(1, Math.trunc(MOST_PIXELS * bounded)), height: MOST_PIXELS };
  }
  return size;
}

/** Transformers' `resize_for_vision_encoder`: both sides to multiples of a tile. */
function tiledSize({ width, height }: Size, tile: number): Size {
  const up = (side: number) => Math.ceil(side / tile) * tile;
  const ratio = width / height;
  return width >= height
    ? { width: up(width), height: up(Math.trunc(up(width) / ratio)) }
    : { width: up(Math.trunc(up(height) * ratio)), height: up(height) };
}

/** Pictures to tiles, as SmolVLM's and Idefics3's processors make them. */
export class SmolVLMImageProcessor extends ImageProcessor {
  override readonly wholeTile = "last";

  constructor(readonly smolVLM: SmolVLMImageOptions) {
    super({
      maxImgSize: smolVLM.longestEdge,
      splitImageSize: smolVLM.tileSize,
      resizeToMaxSideLen: true,
    });
  }

  /**
   * Reads a processor's settings.
   *
   * @param json preprocessor_config.json, or `image_processor` of processor_config.json
   * @param source the file's name, for messages
   * @param tileSize of the model's vision encoder, pixels
   * @throws {ModelConfigError} if a setting is wrong or not supported
   */
  static fromSettings(
    json: Readonly<Record<string, unknown>>,
    source: string,
    tileSize: number,
    savedFiles: Readonly<Record<string, string>>,
  ): SmolVLMImageProcessor {
    const settings = new ConfigReader(json, source);
    settings.require("do_resize", true);
    settings.require("do_rescale", true);
    const size = settings.object("size"), most = settings.object("max_image_size");
    const tile = most.count("longest_edge", 364);
    if (tile !== tileSize) {
      settings.fail(
        `max_image_size.longest_edge is ${tile}, but the vision encoder takes ${tileSize} px`,
      );
    }
    const resample = settings.count("resample", 1);
    const filter = FILTERS[resample];
    if (filter === undefined) {
      settings.fail(`resample is ${resample}, want 1 (Lanczos), 2 (bilinear) or 3 (bicubic)`);
    }
    const normalizes = settings.flag("do_normalize", true);
    const mean = settings.triple("image_mean", [0.5, 0.5, 0.5]);
    const std = settings.triple("image_std", [0.5, 0.5, 0.5]);
    const factor = settings.number("rescale_factor", 1 / 255);
    return new SmolVLMImageProcessor({
      longestEdge: size.count("longest_edge", 4 * tile),
      tileSize: tile,
      splitting: settings.flag("do_image_splitting", true),
      filter,
      // In the order and the precision of NumPy's.
      levels: [0, 1, 2].map((channel) =>
        Array.from({ length: 256 }, (_, level) => {
          const value = Math.fround(level * factor);
          if (!normalizes) return value;
          const centred = Math.fround(value - Math.fround(mean[channel]));
          return Math.fround(centred / Math.fround(std[channel]));
        })
      ),
      savedFiles,
    });
  }

  override toLevel(value: number, channel: number): number {
    const levels = this.smolVLM.levels[channel];
    const share = (value - levels[0]) / (levels[255] - levels[0]);
    return Math.min(255, Math.max(0, Math.round(255 * share)));
  }

  override pixelRange(channel: number): readonly [low: number, high: number] {
    const levels = this.smolVLM.levels[channel];
    return [levels[0], levels[255]];
  }

  override get worker(): { readonly module: string; readonly options: unknown } {
    const module = new URL("./image_worker.ts", import.meta.url).href;
    return { module, options: { ...this.smolVLM, savedFiles: {} } };
  }

  #size(picture: Size): Size {
    const { longestEdge, tileSize, splitting } = this.smolVLM;
    if (!splitting) return { width: tileSize, height: tileSize };
    return tiledSize(longestEdgeSize(picture, longestEdge), tileSize);
  }

  override layout(
    width: number,
    height: number,
  ): { grid: [rows: number, columns: number]; tiles: number } {
    const S = this.smolVLM.tileSize;
    const size = this.#size({ width, height });
    const rows = size.height / S, columns = size.width / S;
    return rows * columns > 1
      ? { grid: [rows, columns], tiles: rows * columns + 1 }
      : { grid: [0, 0], tiles: 1 };
  }

  override async resize(image: Uint8Array | RgbImage): Promise<RgbImage> {
    const { longestEdge, filter } = this.smolVLM;
    const { maxPixels } = this.options;
    const rgb = image instanceof Uint8Array ? await decodeImage(image, { maxPixels }) : image;
    if (rgb.data.length !== rgb.width * rgb.height * 3 || rgb.data.length === 0) {
      throw new RangeError(
        `Cannot process pixels: got ${rgb.data.length} bytes for ${rgb.width} x ${rgb.height}, ` +
          `want ${rgb.width * rgb.height * 3}`,
      );
    }
    const first = longestEdgeSize(rgb, longestEdge);
    const once = pillowResize(rgb, first.width, first.height, filter);
    const second = this.#size(rgb);
    return pillowResize(once, second.width, second.height, filter);
  }

  override toTiles(image: RgbImage): ProcessedImage {
    const { tileSize: S, filter, levels } = this.smolVLM;
    const { width, height } = image;
    if (width % S !== 0 || height % S !== 0) {
      throw new RangeError(`Cannot cut ${width} x ${height} pixels into tiles of ${S}`);
    }
    const several = width > S || height > S;
    const rows = several ? height / S : 0, columns = several ? width / S : 0;
    const tileCount = rows * columns + 1;
    const tiles = new Float32Array(tileCount * 3 * S * S); // [N, 3, S, S]
    let to = 0;
    const cut = ({ data, width }: RgbImage, left: number, top: number) => {
      for (let channel = 0; channel < 3; channel++) {
        const values = levels[channel];
        for (let y = top; y < top + S; y++) {
          let from = (y * width + left) * 3 + channel;
          for (let x = 0; x < S; x++, from += 3) tiles[to++] = values[data[from]];
        }
      }
    };
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) cut(image, column * S, row * S);
    }
    cut(pillowResize(image, S, S, filter), 0, 0);
    return { tiles, tileCount, tileSize: S, grid: [rows, columns], width, height };
  }

  override async save(dir: string): Promise<void> {
    await makeFolder(dir);
    for (const [name, text] of Object.entries(this.smolVLM.savedFiles)) {
      const path = `${dir}/${name}`;
      try {
        await Deno.writeTextFile(path, text);
      } catch (error) {
        throw explainWriteError(error, path);
      }
    }
  }
}
