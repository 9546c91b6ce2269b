/**
 * Processed images, kept as long as they fit: small data sets are decoded once a run.
 *
 * @module
 */
import { RowSkipped } from "../data/data_error.ts";
import type { EncodedImage } from "../data/image_cell.ts";
import { ImageDecodeError } from "../image/image_header.ts";
import type { ImageProcessor, ProcessedImage } from "../image/image_processor.ts";

/** What the cache holds at most, 512 MiB. */
export const TILE_CACHE_BYTES: number = 512 * 2 ** 20;

/** Decodes, resizes and tiles images; remembers those of named rows. */
export class TileCache {
  readonly #processor: ImageProcessor;
  readonly #budget: number;
  readonly #entries = new Map<string, ProcessedImage[]>();
  #bytes = 0;

  /** @param budgetBytes of float32 tiles */
  constructor(processor: ImageProcessor, budgetBytes: number = TILE_CACHE_BYTES) {
    this.#processor = processor;
    this.#budget = budgetBytes;
  }

  /**
   * The tiles of a row's images.
   *
   * @param images the row's
   * @param key names the row; null: not remembered
   * @throws {RowSkipped} where an image cannot be used
   */
  async process(images: readonly EncodedImage[], key: string | null): Promise<ProcessedImage[]> {
    const known = key === null ? undefined : this.#entries.get(key);
    if (known) return known;
    const processed: ProcessedImage[] = [];
    for (const { bytes, name } of images) {
      try {
        processed.push(await this.#processor.process(bytes));
      } catch (error) {
        if (!(error instanceof ImageDecodeError)) throw error;
        throw new RowSkipped(`${name}: ${error.message}`, "", { cause: error });
      }
    }
    const size = processed.reduce((sum, { tiles }) => sum + tiles.byteLength, 0);
    if (key !== null && this.#bytes + size <= this.#budget) {
      this.#entries.set(key, processed);
      this.#bytes += size;
    }
    return processed;
  }
}
