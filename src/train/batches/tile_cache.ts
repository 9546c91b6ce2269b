/**
 * Processed images, kept as long as they fit: small data sets are decoded once a run. Other
 * images are decoded by threads, once that takes longer than starting them.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { EncodedImage } from "../../data/rows/image_cell.ts";
import type { AugmentationPlan } from "../../image/augment/plan.ts";
import { ImageDecodeError } from "../../image/image_header.ts";
import type { ImageProcessor, ProcessedImage } from "../../image/image_processor.ts";
import { ImageWorkers, spareWorkers } from "../../image/image_workers.ts";

/** What the cache holds at most, 512 MiB. */
export const TILE_CACHE_BYTES: number = 512 * 2 ** 20;

/** Threads are started once the main thread has decoded for this long. */
const START_MS = 500;

/** Rows of changed pictures that are remembered. */
const CHANGED_ROWS = 16;

/** How images are processed. */
export interface TileCacheOptions {
  /** Of float32 tiles that are kept; default 512 MiB. */
  readonly budgetBytes?: number;
  /**
   * Threads (`training.dataloader_num_workers`); 0: none; null (default): one a core but one, once
   * the main thread has decoded for half a second.
   */
  readonly workers?: number | null;
}

/** Decodes, resizes and tiles images; remembers those of named rows. */
export class TileCache {
  readonly #budget: number;
  readonly #workers: ImageWorkers;
  readonly #workerCount: number | null;
  readonly #entries = new Map<string, ProcessedImage[]>();
  /** Rows that are being processed: several turns may ask for the same picture at once. */
  readonly #running = new Map<string, Promise<ProcessedImage[]>>();
  /** Rows whose pictures were changed, the latest last. */
  readonly #changed = new Map<string, Promise<ProcessedImage[]>>();
  #bytes = 0;
  #started = false;
  /** What decoding on the main thread had taken when the threads were last released. */
  #hereMs = 0;

  constructor(processor: ImageProcessor, options: TileCacheOptions = {}) {
    this.#workers = new ImageWorkers(processor);
    this.#budget = options.budgetBytes ?? TILE_CACHE_BYTES;
    this.#workerCount = options.workers ?? null;
  }

  /** Threads that run now. */
  get workers(): number {
    return this.#workers.count;
  }

  /**
   * The tiles of a row's images.
   *
   * @param images the row's
   * @param key names the row; null: not remembered
   * @throws {RowSkipped} if an image cannot be used
   */
  async process(images: readonly EncodedImage[], key: string | null): Promise<ProcessedImage[]> {
    if (key === null) return await this.#process(images);
    const known = this.#entries.get(key) ?? this.#running.get(key);
    if (known) return await known;
    const running = this.#process(images);
    this.#running.set(key, running);
    try {
      const processed = await running;
      const size = processed.reduce((sum, { tiles }) => sum + tiles.byteLength, 0);
      if (this.#bytes + size <= this.#budget) {
        this.#entries.set(key, processed);
        this.#bytes += size;
      }
      return processed;
    } finally {
      this.#running.delete(key);
    }
  }

  /**
   * The tiles of a row's images, each changed as planned. They are remembered for the next few rows
   * alone, since another epoch has other plans: the turns of a row ask one after the other.
   *
   * @param plans one an image
   * @param key names the row and its plans
   * @throws {RowSkipped} if an image cannot be used
   */
  async processChanged(
    images: readonly EncodedImage[],
    plans: readonly AugmentationPlan[],
    key: string,
  ): Promise<ProcessedImage[]> {
    const known = this.#changed.get(key);
    if (known) return await known;
    const running = this.#process(images, plans);
    running.catch(() => {}); // told by the await below
    this.#changed.set(key, running);
    const [oldest] = this.#changed.keys();
    if (this.#changed.size > CHANGED_ROWS) this.#changed.delete(oldest);
    return await running;
  }

  async #process(
    images: readonly EncodedImage[],
    plans: readonly AugmentationPlan[] = [],
  ): Promise<ProcessedImage[]> {
    if (images.length === 0) return [];
    this.#startWorkers();
    const results = await Promise.allSettled(
      images.map(({ bytes }, i) => this.#workers.process(bytes, plans[i])),
    );
    return results.map((result, i) => {
      if (result.status === "fulfilled") return result.value;
      const error: unknown = result.reason;
      if (!(error instanceof ImageDecodeError)) throw error;
      throw new RowSkipped(`${images[i].name}: ${error.message}`, "", { cause: error });
    });
  }

  #startWorkers(): void {
    if (this.#started) return;
    const pays = this.#workers.hereMs - this.#hereMs > START_MS;
    const count = this.#workerCount ?? (pays ? spareWorkers() : 0);
    if (count === 0) return;
    this.#started = true;
    this.#workers.start(count);
  }

  /** Ends the threads and drops their work; they start again when they are needed. */
  async release(): Promise<void> {
    this.#started = false;
    this.#hereMs = this.#workers.hereMs;
    this.#changed.clear();
    await this.#workers.close();
  }
}
