/**
 * A picture as the model sees it: its tiles as PNG files.
 *
 * @module
 */
import { encodePng } from "../data/embedded/embedded_shapes_png.ts";
import type { PromptImage } from "../generate/generate_text.ts";
import type { ImageProcessor } from "../image/image_processor.ts";

// S side of a tile

/** The tiles as data URLs. */
export interface SeenTiles {
  readonly rows: number;
  readonly columns: number;
  /** The small copy of the whole picture, if the model gets one. */
  readonly whole: string | null;
  /** Row by row. */
  readonly tiles: readonly string[];
}

/** One tile, [3, S, S], as a PNG. */
function tileUrl(planes: Float32Array, side: number, processor: ImageProcessor): string {
  const pixels = side * side;
  const data = new Uint8Array(3 * pixels);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) {
      data[3 * i + c] = processor.toLevel(planes[c * pixels + i], c);
    }
  }
  return `data:image/png;base64,${encodePng({ width: side, height: side, data }).toBase64()}`;
}

/**
 * What the vision encoder gets.
 *
 * @param processor that made the tiles
 */
export function seenTiles(
  { tiles, tileCount, grid }: PromptImage,
  processor: ImageProcessor,
): SeenTiles {
  const [rows, columns] = grid;
  const size = tiles.length / tileCount;
  const side = Math.sqrt(size / 3);
  const urls = Array.from(
    { length: tileCount },
    (_, i) => tileUrl(tiles.subarray(i * size, (i + 1) * size), side, processor),
  );
  if (tileCount <= rows * columns) return { rows, columns, whole: null, tiles: urls };
  return processor.wholeTile === "first"
    ? { rows, columns, whole: urls[0], tiles: urls.slice(1) }
    : { rows, columns, whole: urls.at(-1)!, tiles: urls.slice(0, -1) };
}
