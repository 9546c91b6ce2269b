/**
 * Prompts in training order, without an end, with a cursor from which a resumed run goes on.
 *
 * @module
 */
import { RowSkipped } from "../data/data_error.ts";
import type { Dataset } from "../data/dataset.ts";
import type { GrpoExample } from "../data/formats.ts";
import type { StreamingDataset } from "../data/streaming_dataset.ts";
import { type DataCursor, ExampleStream } from "./example_stream.ts";
import type { GRPOPrompt, GRPOPromptMaker } from "./grpo_prompts.ts";

/** Prompts, at random or in a stream. */
export type GRPODataset = Dataset<GrpoExample> | StreamingDataset<GrpoExample>;

/** Prompts of one data set, epoch after epoch. */
export class GRPOPromptStream {
  readonly #dataset: GRPODataset;
  readonly #maker: GRPOPromptMaker;
  readonly #stream: ExampleStream<GrpoExample>;
  /** Goes back to prompts of a restored buffer. */
  readonly #lookup: ExampleStream<GrpoExample>;

  /** @param seed of the shuffles */
  constructor(dataset: GRPODataset, maker: GRPOPromptMaker, seed: number) {
    this.#dataset = dataset;
    this.#maker = maker;
    this.#stream = new ExampleStream(dataset, seed);
    this.#lookup = new ExampleStream(dataset, seed);
  }

  /** Prompts an epoch has; null where nobody knows. */
  get length(): number | null {
    return this.#stream.length;
  }

  /** Where the stream stands. */
  get cursor(): DataCursor {
    return this.#stream.cursor;
  }

  /** Goes on from a cursor. */
  seek(cursor: DataCursor): void {
    this.#stream.seek(cursor);
  }

  /**
   * The next prompt that can be used; at the end of an epoch the next one begins.
   *
   * @throws {Error} where a whole epoch has none
   */
  async next(): Promise<GRPOPrompt> {
    for (let ends = 0; ends < 2;) {
      const prompt = await this.#read(this.#stream);
      if (prompt === "end") ends++;
      else if (prompt !== null) return prompt;
    }
    throw new Error(
      "Cannot train: an epoch has no usable prompt; see why rows were skipped in the report",
    );
  }

  /** The prompt at a cursor that an earlier one had. */
  async at(cursor: DataCursor): Promise<GRPOPrompt> {
    const { epoch, index } = this.#lookup.cursor;
    if (epoch !== cursor.epoch || index !== cursor.index) this.#lookup.seek(cursor);
    const prompt = await this.#read(this.#lookup);
    if (prompt === "end" || prompt === null) {
      throw new Error(
        `Cannot go on from the checkpoint: example ${cursor.index} of epoch ${cursor.epoch} of ` +
          `${this.#dataset.name} is no longer usable; has the data changed?`,
      );
    }
    return prompt;
  }

  /** The next of a stream; null where its row cannot be used. */
  async #read(stream: ExampleStream<GrpoExample>): Promise<GRPOPrompt | "end" | null> {
    const placed = await stream.next();
    if (placed === null) return "end";
    const { epoch, index } = stream.cursor;
    const key = placed.row === null ? null : String(placed.row);
    try {
      return await this.#maker.make(placed, key, { epoch, index: index - 1 });
    } catch (error) {
      if (!(error instanceof RowSkipped)) throw error;
      if (stream === this.#stream) this.#dataset.skipped.add(error.at(await placed.place()));
      return null;
    }
  }
}
