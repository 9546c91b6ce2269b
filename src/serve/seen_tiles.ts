/**
 * A picture as the model sees it: its tiles as PNG files.
 *
 * @module
 */
import { encodePng } from "../data/embedded/embedded_shapes_png.ts";
import type { ProcessedImage } from "../image/image_processor.ts";

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

/** One tile, [3, S, S] of 0 … 1, as a PNG. */
function tileUrl(planes: Float32Array, side: number): string {
  const pixels = side * side;
  const data = new Uint8Array(3 * pixels);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) data[3 * i + c] = Math.round(255 * planes[c * pixels + i]);
  }
  return `data:image/png;base64,${encodePng({ width: side, height: side, data }).toBase64()}`;
}

/**
 * What the vision encoder gets.
 *
 * @param image from the model's processor, not normalised
 */
export function seenTiles({ tiles, tileCount, grid, tileSize }: ProcessedImage): SeenTiles {
  const [rows, columns] = grid;
  const size = 3 * tileSize ** 2;
  const urls = Array.from({ length: tileCount }, (_, i) =>
    tileUrl(tiles.subarray(i * size, (i + 1) * size), tileSize));
  const hasWhole = tileCount > rows * columns;
  return { rows, columns, whole: hasWhole ? urls[0] : null, tiles: urls.slice(hasWhole ? 1 : 0) };
}
