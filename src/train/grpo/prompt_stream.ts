/**
 * Prompts in training order, without an end, with a cursor from which a resumed run continues.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { GrpoExample } from "../../data/rows/formats.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { type DataCursor, ExampleStream } from "../batches/example_stream.ts";
import { ReadAhead } from "../batches/read_ahead.ts";
import type { TileCache } from "../batches/tile_cache.ts";
import type { GRPOPrompt, GRPOPromptMaker } from "./prompts.ts";

/** Prompts, at random or in a stream. */
export type GRPODataset = Dataset<GrpoExample> | StreamingDataset<GrpoExample>;

/** How prompts are read. */
export interface GRPOPromptStreamOptions {
  /** Of the shuffles. */
  readonly seed: number;
  /** How many prompts are prepared before they are asked for; default 0. */
  readonly ahead?: number;
  /** Group rows by length for steps of so many prompts; null (default): all at random. */
  readonly lengthBatch?: number | null;
}

/** The result of reading a row; `end`: the epoch has no more rows. */
interface Reading {
  readonly prompt: GRPOPrompt | RowSkipped | "end";
  /** Rows before it that could not be read. */
  readonly unread: readonly RowSkipped[];
  /** The place after it. */
  readonly cursor: DataCursor;
}

/** Prompts of one data set, epoch after epoch. */
export class GRPOPromptStream {
  readonly #dataset: GRPODataset;
  readonly #maker: GRPOPromptMaker;
  readonly #options: GRPOPromptStreamOptions;
  #stream: ExampleStream<GrpoExample>;
  /** Reads prompts of a restored buffer again. */
  readonly #lookup: ExampleStream<GrpoExample>;
  /** The place after the last prompt that was returned; what is made ahead does not count. */
  #cursor: DataCursor;
  readonly #ahead = new ReadAhead<Reading>();

  constructor(dataset: GRPODataset, maker: GRPOPromptMaker, options: GRPOPromptStreamOptions) {
    this.#dataset = dataset;
    this.#maker = maker;
    this.#options = options;
    this.#stream = this.#open();
    this.#lookup = this.#open();
    this.#cursor = this.#stream.cursor;
  }

  #open(): ExampleStream<GrpoExample> {
    const { seed, lengthBatch = null } = this.#options;
    return new ExampleStream(this.#dataset, seed, lengthBatch);
  }

  /** Prompts an epoch has; null if it is not known. */
  get length(): number | null {
    return this.#stream.length;
  }

  /** The threads and the cache that decode pictures. */
  get tiles(): TileCache {
    return this.#maker.tiles;
  }

  /** The place of the stream, in epochs. */
  get epoch(): number {
    const { epoch, index } = this.#cursor;
    const { length } = this;
    return length === null ? epoch : epoch + index / length;
  }

  /** The place of the stream. */
  get cursor(): DataCursor {
    return { ...this.#cursor };
  }

  /** Continues from a cursor. */
  seek(cursor: DataCursor): void {
    this.#ahead.drop();
    this.#stream = this.#open();
    this.#stream.seek(cursor);
    this.#cursor = { ...cursor };
  }

  /**
   * The next prompt that can be used; at the end of an epoch the next one begins.
   *
   * @throws {Error} if a whole epoch has none
   * @throws {DataError} if more than 10 % of the rows cannot be used
   */
  async next(): Promise<GRPOPrompt> {
    const { ahead = 0 } = this.#options;
    for (let ends = 0; ends < 2;) {
      while (this.#ahead.length <= ahead) this.#begin();
      const reading = this.#ahead.take();
      reading.catch(() => {}); // reported below
      // Once a round computes, nothing else runs on this thread for long.
      await this.#ahead.posted();
      const { prompt, unread, cursor } = await reading;
      this.#cursor = cursor;
      for (const skipped of unread) this.#dataset.skipped.add(skipped);
      if (prompt === "end") ends++;
      else if (prompt instanceof RowSkipped) this.#dataset.skipped.add(prompt);
      else return prompt;
    }
    throw new Error(
      "Cannot train: an epoch has no usable prompt; see why rows were skipped in the report",
    );
  }

  /** The prompt at a cursor that an earlier one had. */
  async at(cursor: DataCursor): Promise<GRPOPrompt> {
    const { epoch, index } = this.#lookup.cursor;
    if (epoch !== cursor.epoch || index !== cursor.index) this.#lookup.seek(cursor);
    const { prompt } = await this.#read(this.#lookup, () => {});
    if (prompt === "end" || prompt instanceof RowSkipped) {
      throw new Error(
        `Cannot go on from the checkpoint: example ${cursor.index} of epoch ${cursor.epoch} of ` +
          `${this.#dataset.name} is no longer usable; has the data changed?`,
      );
    }
    return prompt;
  }

  /** Drops what is being made ahead, and waits until nothing is. */
  async release(): Promise<void> {
    this.seek(this.#cursor);
    await this.#ahead.settled();
  }

  #begin(): void {
    const stream = this.#stream;
    this.#ahead.begin(({ posted }) => this.#read(stream, posted));
  }

  /** The next of a stream. */
  async #read(stream: ExampleStream<GrpoExample>, posted: () => void): Promise<Reading> {
    const unread: RowSkipped[] = [];
    const placed = await stream.next((skipped) => {
      unread.push(skipped);
      this.#dataset.skipped.judge(unread);
    });
    const { cursor } = stream;
    if (placed === null) return { prompt: "end", unread, cursor };
    const key = placed.row === null ? null : String(placed.row);
    const making = this.#maker.make(placed, key, { ...cursor, index: cursor.index - 1 });
    posted();
    try {
      return { prompt: await making, unread, cursor };
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      return { prompt: error.at(await placed.place()), unread, cursor };
    }
  }
}
