/**
 * The rows of a step that several ranks share: all ranks read the same rows in the same order, and
 * each makes those that it computes. A row that cannot be used is left out on every rank, so that the
 * ranks train on the rows that one process would take.
 *
 * @module
 */
import { RowSkipped } from "../../data/data_error.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { gatherJson, ownerOf, type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import type { EncodedExample, ExampleStream, PlacedExample } from "./example_stream.ts";
import { makeOrSkip } from "./made_ahead.ts";
import type { AheadContext } from "./read_ahead.ts";

/** What the rows come from. */
export interface SharedRowsOptions<E extends EncodedExample, X> {
  readonly stream: ExampleStream<E>;
  readonly dataset: Dataset<E> | StreamingDataset<E>;
  /** Brings a row into the model's form; throws `RowSkipped` if it cannot. */
  readonly make: (placed: PlacedExample<E>) => Promise<X>;
  readonly ranks: Ranks;
  readonly batchSize: number;
  /** Examples of the step, on all ranks. */
  readonly wanted: number;
  /** Takes the rows that cannot be used, in their order. */
  readonly skipped: RowSkipped[];
}

/** A row that was read. */
interface SharedRow<E, X> {
  readonly placed: PlacedExample<E>;
  /** Only on the rank that is expected to compute it. */
  made: Promise<X | RowSkipped> | null;
}

/** The rows of one step. */
export class SharedRows<E extends EncodedExample, X> {
  /** Usable as far as is known. */
  #rows: SharedRow<E, X>[] = [];
  /** How many of them every rank knows to be usable. */
  #judged = 0;
  #ended = false;

  constructor(readonly options: SharedRowsOptions<E, X>) {}

  /** Reads the rows, and makes this rank's as if all could be used. */
  async begin({ posted, throwIfDropped }: AheadContext): Promise<void> {
    await this.#read(throwIfDropped);
    posted();
    await Promise.all(this.#rows.map(({ made }) => made));
  }

  /**
   * Finds out with the other ranks which rows cannot be used, and reads others in their place.
   *
   * @returns the step's examples in order, null for those of other ranks; and whether the epoch has
   *   no more rows
   * @throws {DataError} if more than 10 % of the rows cannot be used, on every rank
   */
  async finish(): Promise<{ examples: (X | null)[]; ended: boolean }> {
    const { wanted } = this.options;
    do {
      if (this.#rows.length < wanted) await this.#read();
      await this.#judge();
    } while (this.#rows.length < wanted && !this.#ended);
    return { examples: await this.#own(), ended: this.#ended };
  }

  #isOwn(position: number): boolean {
    const { ranks, batchSize } = this.options;
    return ownerOf(Math.floor(position / batchSize), ranks) === ranks.rank;
  }

  /** Reads as many rows as are missing. */
  async #read(throwIfDropped: () => void = () => {}): Promise<void> {
    const { stream, dataset, make, wanted, skipped } = this.options;
    while (this.#rows.length < wanted && !this.#ended) {
      throwIfDropped();
      // Every rank reads every row, so that all ranks see which ones cannot be read.
      const placed = await stream.next((row) => {
        skipped.push(row);
        dataset.skipped.judge(skipped);
      });
      if (placed === null) {
        this.#ended = true;
        break;
      }
      const made = this.#isOwn(this.#rows.length) ? makeOrSkip(placed, make) : null;
      made?.catch(() => {}); // told when it is awaited
      this.#rows.push({ placed, made });
    }
  }

  /** Leaves out what a rank could not make. */
  async #judge(): Promise<void> {
    const { ranks, dataset, skipped } = this.options;
    const own: { position: number; reason: string; place: string }[] = [];
    for (let position = this.#judged; position < this.#rows.length; position++) {
      const made = await this.#rows[position].made;
      if (made instanceof RowSkipped) {
        own.push({ position, reason: made.reason, place: made.place });
      }
    }
    const [count] = await sumNumbers(ranks, [own.length], "the rows of a step");
    if (count > 0) {
      const all = (await gatherJson(ranks, own, "the rows that cannot be used")).flat();
      all.sort((a, b) => a.position - b.position);
      for (const { reason, place } of all) {
        skipped.push(new RowSkipped(reason, place));
        dataset.skipped.judge(skipped);
      }
      const bad = new Set(all.map(({ position }) => position));
      this.#rows = this.#rows.filter((_, position) => !bad.has(position));
    }
    this.#judged = this.#rows.length;
  }

  /** Makes what this rank has to compute after all, because a row before it was left out. */
  async #own(): Promise<(X | null)[]> {
    return await Promise.all(this.#rows.map(async ({ placed, made }, position) => {
      if (!this.#isOwn(position)) return null;
      const example = await (made ?? makeOrSkip(placed, this.options.make));
      if (example instanceof RowSkipped) throw example;
      return example;
    }));
  }
}
