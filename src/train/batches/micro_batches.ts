/**
 * The micro-batches of an optimizer step, out of a stream of examples: rows that cannot be used are
 * counted and left out, the last step of an epoch is shorter.
 *
 * @module
 */
import { stepsOfEpoch } from "../loop/due_work.ts";
import { RowSkipped } from "../../data/data_error.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import type { TrainingSection } from "../../config/types/config_types.ts";
import {
  type DataCursor,
  type EncodedExample,
  ExampleStream,
  type PlacedExample,
} from "./example_stream.ts";
import { type BatchBudget, type BatchUnit, budgetBatches } from "./budget_batches.ts";
import { currentRanks, ownerOf, type Ranks } from "../../distributed/ranks.ts";
import { makeOrSkip } from "./made_ahead.ts";
import { type AheadContext, ReadAhead } from "./read_ahead.ts";
import { SharedRows } from "./shared_rows.ts";

/** How examples are put together. */
export interface MicroBatchOptions {
  batchSize: number;
  gradientAccumulationSteps: number;
  /** Leave out a last batch that is not full. */
  dropLast: boolean;
  /** Put rows of like length into the same steps (Transformers' `group_by_length`). */
  groupByLength: boolean;
  /** Of the shuffles. */
  seed: number;
  /** Cut a step by tokens and pictures rather than by `batchSize`; null or absent: by it. */
  budget?: BatchBudget | null;
}

/** Options, and how large examples are. */
export interface SizedBatchOptions<X> extends MicroBatchOptions {
  /** The examples of a step with their sizes, for `budget`. */
  units?: (examples: readonly X[]) => BatchUnit<X>[];
}

/** How a config puts examples together. */
export function microBatchOptions(training: TrainingSection): MicroBatchOptions {
  return {
    batchSize: training.per_device_train_batch_size,
    gradientAccumulationSteps: training.gradient_accumulation_steps,
    dropLast: training.dataloader_drop_last,
    groupByLength: training.group_by_length,
    seed: training.seed,
    budget: budgetOf(training),
  };
}

function budgetOf({ token_budget, image_budget }: TrainingSection): BatchBudget | null {
  if (token_budget === null && image_budget === null) return null;
  return { tokens: token_budget, images: image_budget };
}

/** What one optimizer step works on; of several ranks, this rank's share of it. */
export interface StepBatches<X> {
  /** Those that this rank computes. */
  readonly batches: X[][];
  /** The number of each of `batches` within the step. */
  readonly numbers: number[];
  /** Micro-batches of the step, on all ranks. */
  readonly count: number;
  /** Whether the epoch ends with this step. */
  readonly epochEnded: boolean;
}

/** The batches of a step, and the state of the data once the step begins. */
interface PreparedStep<X> extends StepBatches<X> {
  /** Usable examples that were left out, since they fill no batch. */
  readonly dropped: number;
  /** The place in the data after it. */
  readonly cursor: DataCursor;
  /** Rows that were skipped, in their order. */
  readonly skipped: readonly RowSkipped[];
}

/**
 * Examples `E` of a data set, made into what the model takes, `X`, in batches; those of the next
 * step are made while this one runs.
 */
export class MicroBatches<E extends EncodedExample, X> {
  #stream: ExampleStream<E>;
  /** The place after the last step that was returned; what is made ahead does not count. */
  #cursor: DataCursor;
  /** Rows of a micro-batch: `batchSize`, or fewer if memory is too short for that. */
  #rows: number;
  /** Each gives what is left to do when its step begins: what needs the other ranks. */
  readonly #ahead = new ReadAhead<() => Promise<PreparedStep<X>>>();

  /**
   * @param dataset the examples
   * @param make brings one into the model's form; throws `RowSkipped` if it cannot
   * @param options sizes; `gradientAccumulationSteps` counts the micro-batches of all ranks
   * @param ranks which of them this process is
   * @throws {Error} if a budget is asked for and there are several ranks
   */
  constructor(
    readonly dataset: Dataset<E> | StreamingDataset<E>,
    readonly make: (placed: PlacedExample<E>) => Promise<X>,
    readonly options: SizedBatchOptions<X>,
    readonly ranks: Ranks = currentRanks(),
  ) {
    if (options.budget && ranks.size > 1) {
      throw new Error(
        `Cannot cut steps by training.token_budget or image_budget over ${ranks.size} ranks: a ` +
          "rank knows its own examples alone; remove the budgets, or run one process",
      );
    }
    this.#stream = this.#open();
    this.#cursor = this.#stream.cursor;
    this.#rows = options.batchSize;
  }

  /** Most rows of a micro-batch. */
  get rows(): number {
    return this.#rows;
  }

  /**
   * Cuts the steps that are read from now on into micro-batches of that many rows. Which rows a step
   * takes and which ones are left out at an epoch's end stay as `batchSize` says.
   *
   * @param rows at most `batchSize`
   */
  cutTo(rows: number): void {
    this.#rows = rows;
  }

  #open(): ExampleStream<E> {
    return new ExampleStream(this.dataset, this.options.seed, lengthBatch(this.options));
  }

  /** Optimizer steps an epoch has; null if it is not known. */
  get stepsPerEpoch(): number | null {
    const examples = this.#stream.length;
    return examples === null ? null : stepsOfEpoch(examples, this.options);
  }

  /** The place in the data, in epochs. As in Trainer, each batch counts the same, full or not. */
  get epoch(): number {
    const { epoch, index } = this.#cursor;
    const { length } = this.#stream;
    if (length === null) return epoch;
    const { batchSize, dropLast } = this.options;
    const batches = dropLast ? Math.floor(length / batchSize) : Math.ceil(length / batchSize);
    return epoch + Math.min(1, Math.ceil(index / batchSize) / Math.max(1, batches));
  }

  /** For a checkpoint. */
  get cursor(): DataCursor {
    return { ...this.#cursor };
  }

  /** Continues from a checkpoint. */
  seek(cursor: DataCursor): void {
    this.#ahead.drop();
    this.#stream = this.#open();
    this.#stream.seek(cursor);
    this.#cursor = { ...cursor };
  }

  /**
   * The next step's micro-batches: at least one on all ranks together.
   *
   * @param more whether another step follows: its work is then begun
   * @throws {Error} if a whole epoch has no usable example, or too few for a batch that is full
   * @throws {DataError} if more than 10 % of the rows cannot be used
   */
  async next(more = false): Promise<StepBatches<X>> {
    if (this.#ahead.length === 0) this.#begin();
    const finish = await this.#ahead.take();
    const { batches, numbers, count, epochEnded, dropped, cursor, skipped } = await finish();
    for (const row of skipped) this.dataset.skipped.add(row);
    if (count === 0) {
      const { batchSize } = this.options;
      const rows = dropped === 1 ? "the one usable example" : `the ${dropped} usable examples`;
      throw new Error(
        `Cannot train on ${this.dataset.name}: ` +
          (dropped === 0
            ? "an epoch has no usable example"
            : `${rows} of an epoch do not fill a batch of ${batchSize}, and what is not full is left ` +
              "out; lower per_device_train_batch_size or set dataloader_drop_last to false"),
      );
    }
    this.#cursor = cursor;
    if (more) {
      this.#begin();
      // Once the step computes, nothing else runs on this thread for long.
      await this.#ahead.posted();
    }
    return { batches, numbers, count, epochEnded };
  }

  /** Drops what is being made ahead, and waits until nothing is. */
  async release(): Promise<void> {
    this.seek(this.#cursor);
    await this.#ahead.settled();
  }

  #begin(): void {
    const stream = this.#stream;
    this.#ahead.begin((context) => this.#make(stream, context));
  }

  /** Makes a step as far as it can be made ahead. */
  async #make(
    stream: ExampleStream<E>,
    context: AheadContext,
  ): Promise<() => Promise<PreparedStep<X>>> {
    const skipped: RowSkipped[] = [];
    const finish = (made: StepBatches<X> & { readonly dropped: number }): PreparedStep<X> => ({
      ...made,
      cursor: stream.cursor,
      skipped,
    });
    if (this.ranks.size === 1) {
      let made = await this.#makeStep(stream, skipped, context);
      // Every row that was left of the epoch was skipped: continue with the next one.
      if (made.count === 0) made = await this.#makeStep(stream, skipped, context);
      const prepared = finish(made);
      return () => Promise.resolve(prepared);
    }
    const rows = this.#share(stream, skipped);
    await rows.begin(context);
    return async () => {
      let made = await this.#cut(stream, skipped, await rows.finish());
      if (made.count === 0) {
        made = await this.#cut(stream, skipped, await this.#share(stream, skipped).finish());
      }
      return finish(made);
    };
  }

  #share(stream: ExampleStream<E>, skipped: RowSkipped[]): SharedRows<E, X> {
    const { dataset, make, ranks, options: { gradientAccumulationSteps } } = this;
    const wanted = this.options.batchSize * gradientAccumulationSteps;
    const batchSize = this.#rows;
    return new SharedRows({ stream, dataset, make, ranks, batchSize, wanted, skipped });
  }

  async #makeStep(
    stream: ExampleStream<E>,
    skipped: RowSkipped[],
    { posted, throwIfDropped }: AheadContext,
  ): Promise<StepBatches<X> & { readonly dropped: number }> {
    const { batchSize, gradientAccumulationSteps } = this.options;
    const wanted = batchSize * gradientAccumulationSteps;
    const examples: X[] = [];
    let ended = false;
    while (examples.length < wanted && !ended) {
      // Reads as many rows as are missing, and not one more, even if some cannot be used.
      const rows: (Promise<X | RowSkipped> | RowSkipped)[] = [], unread: RowSkipped[] = [];
      for (let missing = wanted - examples.length; missing > 0; missing--) {
        throwIfDropped();
        const placed = await stream.next((row) => {
          rows.push(row);
          unread.push(row);
          this.dataset.skipped.judge([...skipped, ...unread]);
        });
        if (placed === null) {
          ended = true;
          break;
        }
        const making = makeOrSkip(placed, this.make);
        making.catch(() => {}); // told below, once the rows before it are made
        rows.push(making);
      }
      posted();
      for (const row of rows) {
        const example = await row;
        if (example instanceof RowSkipped) {
          skipped.push(example);
          this.dataset.skipped.judge(skipped);
        } else examples.push(example);
      }
    }
    return await this.#cut(stream, skipped, { examples, ended });
  }

  /**
   * Cuts the examples of a step into micro-batches, and moves on to the next epoch if this one has no
   * further step.
   *
   * @param read examples in order; null for those that other ranks compute
   */
  async #cut(
    stream: ExampleStream<E>,
    skipped: RowSkipped[],
    { examples, ended }: { readonly examples: (X | null)[]; readonly ended: boolean },
  ): Promise<StepBatches<X> & { readonly dropped: number }> {
    const { batchSize, dropLast, budget, units } = this.options;
    const dropped = dropLast && ended ? examples.length % batchSize : 0;
    examples.length -= dropped;
    const packed = budget && units ? budgetBatches(units(examples as X[]), budget) : null;
    const rows = this.#rows;
    const count = packed?.length ?? Math.ceil(examples.length / rows);
    const numbers = Array.from({ length: count }, (_, number) => number)
      .filter((number) => ownerOf(number, this.ranks) === this.ranks.rank);
    const batches = packed ??
      numbers.map((number) => examples.slice(number * rows, (number + 1) * rows) as X[]);
    if (ended) return { batches, numbers, count, epochEnded: true, dropped };
    const { length } = stream;
    const left = length === null ? Infinity : length - stream.cursor.index;
    const epochEnded = dropLast ? left < batchSize : left === 0;
    if (epochEnded) { while (await stream.next((row) => skipped.push(row)) !== null); }
    return { batches, numbers, count, epochEnded, dropped };
  }
}

/** For how many examples a step's rows are grouped by length; null: not at all. */
export function lengthBatch(
  options: Pick<
    MicroBatchOptions,
    "groupByLength" | "batchSize" | "gradientAccumulationSteps"
  >,
): number | null {
  const { groupByLength, batchSize, gradientAccumulationSteps } = options;
  return groupByLength ? batchSize * gradientAccumulationSteps : null;
}
