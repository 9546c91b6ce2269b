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

type Normalize = ImageProcessor["options"]["normalize"];

/** One tile, [3, S, S], as a PNG. */
function tileUrl(planes: Float32Array, side: number, normalize: Normalize): string {
  const pixels = side * side;
  const data = new Uint8Array(3 * pixels);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) {
      const value = planes[c * pixels + i];
      const level = normalize === null ? value : value * normalize.std[c] + normalize.mean[c];
      data[3 * i + c] = Math.min(255, Math.max(0, Math.round(255 * level)));
    }
  }
  return `data:image/png;base64,${encodePng({ width: side, height: side, data }).toBase64()}`;
}

/**
 * What the vision encoder gets.
 *
 * @param normalize what the model's processor has normalised by
 */
export function seenTiles(
  { tiles, tileCount, grid }: PromptImage,
  normalize: Normalize,
): SeenTiles {
  const [rows, columns] = grid;
  const size = tiles.length / tileCount;
  const side = Math.sqrt(size / 3);
  const urls = Array.from(
    { length: tileCount },
    (_, i) => tileUrl(tiles.subarray(i * size, (i + 1) * size), side, normalize),
  );
  const hasWhole = tileCount > rows * columns;
  return { rows, columns, whole: hasWhole ? urls[0] : null, tiles: urls.slice(hasWhole ? 1 : 0) };
}
