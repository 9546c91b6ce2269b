/**
 * What differs between SFT, DPO, GRPO and GKD: how an optimizer step gets its gradients, and how the
 * model is evaluated.
 *
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { SkippedRows } from "../../data/rows/skipped_rows.ts";
import type { PackedRow } from "../../model/branches.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { DataIdentity } from "../checkpoint/run_identity.ts";
import type { GradientAccumulator, Parameters } from "./gradients.ts";

/** What a step is given. */
export interface StepContext {
  /** Takes the step's gradients. */
  readonly accumulator: GradientAccumulator;
  /** What trains. */
  readonly parameters: Parameters;
  /** Optimizer steps done before this one. */
  readonly step: number;
  /** Aborted when the user wants to stop. */
  readonly signal?: AbortSignal;
  /** Whether another step follows, so that its data can be prepared at the same time; default: no. */
  readonly more?: boolean;
  /** What the gradients that `accumulator` takes are multiplied by (fp16); default 1. */
  readonly lossScale?: number;
  /**
   * Runs what this rank computes on its own, between calls to other ranks: if memory runs out on one
   * rank, it throws on all of them; default: it just runs.
   */
  readonly together?: <T>(compute: () => Promise<T>) => Promise<T>;
}

/** How a step runs what a rank computes on its own, if its context does not say. */
export function onThisRank<T>(compute: () => Promise<T>): Promise<T> {
  return compute();
}

/** What a step did. */
export interface StepOutcome {
  /** Scalars on the device whose sum is the step's loss; the trainer frees them. */
  readonly losses: tf.Scalar[];
  /** Tokens that the model computed, padding not counted. */
  readonly tokens: number;
  /** Padding tokens that it computed as well. */
  readonly padding: number;
  /** Further metrics of the step, averaged over logging steps. */
  readonly metrics?: Readonly<Record<string, number>>;
  /** The progress of the run, in epochs. */
  readonly epoch: number;
  /** Whether the epoch ended with this step. */
  readonly epochEnded: boolean;
}

/** What an evaluation found. */
export interface EvaluationOutcome {
  /** Named `eval_…`. */
  readonly metrics: Readonly<Record<string, number>>;
  /** A few questions with answers, for the report. */
  readonly samples: readonly EvaluationSample[];
  /** All questions with answers, without pictures, if the samples are a choice of them. */
  readonly all?: readonly EvaluationSample[];
}

/** How large a micro-batch is. */
export interface BatchSize {
  readonly rows: number;
  /** Of all rows. */
  readonly tokens: number;
  /** Of all rows. */
  readonly tiles: number;
}

/** The size of a batch of rows. */
export function sizeOfRows(rows: readonly PackedRow[]): BatchSize {
  return {
    rows: rows.length,
    tokens: rows.reduce((sum, { inputIds }) => sum + inputIds.length, 0),
    tiles: rows.flatMap(({ images }) => images).reduce((sum, { tileCount }) => sum + tileCount, 0),
  };
}

/** The batch with the most tokens; null if there is none. */
export function largestBatch(sizes: readonly BatchSize[]): BatchSize | null {
  return sizes.reduce<BatchSize | null>(
    (largest, size) => largest === null || size.tokens > largest.tokens ? size : largest,
    null,
  );
}

/** Rows that could not be used, and how many there are in all; two splits of one data set are counted once. */
export function skippedRowsOf(
  datasets: readonly ({ readonly skipped: SkippedRows } | null)[],
): ReturnType<TrainingMethod["skippedRows"]> {
  const sources = [
    ...new Set(datasets.flatMap((dataset) => dataset === null ? [] : dataset.skipped)),
  ];
  return {
    rows: sources.flatMap(({ rows }) => rows),
    total: sources.reduce((sum, { total }) => sum + total, 0),
  };
}

/** Everything that a resumed run needs to continue, as JSON. */
export type MethodState = Record<string, unknown>;

/**
 * Thrown by a step that was aborted and changed nothing: the state is that of the step before. The
 * trainer saves a checkpoint and ends the run: as interrupted, or with the cause if there is one.
 */
export class StepAborted extends Error {
  override readonly name = "StepAborted";

  /** @param options `cause`: what went wrong; without one the user wanted to stop */
  constructor(options: ErrorOptions = {}) {
    super("The step was given up", options);
  }
}

/** One way to train. */
export interface TrainingMethod {
  /** `sft`, `dpo`, `grpo` or `gkd`. */
  readonly name: string;
  /** What it trains on; a checkpoint records it. */
  readonly data: DataIdentity;
  /** Optimizer steps an epoch has; null if it is not known. */
  readonly stepsPerEpoch: number | null;
  /** Computes the gradients of one optimizer step. */
  step(context: StepContext): Promise<StepOutcome>;
  /**
   * Measures on the held-out data.
   *
   * @param signal ends it between two batches, with its reason as the error; the method is then as
   *   it was before
   * @returns null without evaluation data
   */
  evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null>;
  /** What the last step was computed on, as JSON, for the file that a diverged run leaves. */
  describeLastBatch(): unknown;
  /** The largest micro-batch of the last step, or of the one that failed; null: it had none yet. */
  readonly lastBatchSize?: BatchSize | null;
  /**
   * Halves the rows of a micro-batch; a step keeps its rows and has more micro-batches.
   *
   * @returns the rows of a micro-batch from now on, and before; null if it has one row already
   */
  shrinkMicroBatches?(): { readonly rows: number; readonly before: number } | null;
  /**
   * Called after each update.
   *
   * @param step optimizer steps done, this one included
   */
  afterUpdate?(step: number): void;
  /** The reference's tensors, if they change while training: a checkpoint holds them. */
  readonly reference?: Parameters;
  /** For a checkpoint. */
  state(): MethodState;
  /**
   * From a checkpoint.
   *
   * @param exact false: data, seed or batch size are others than the checkpoint's; what was made
   *   from the old data and not used yet is dropped; default true
   */
  restore(state: MethodState, exact?: boolean): void;
  /** Rows that could not be used so far. */
  skippedRows(): { rows: readonly { place: string; reason: string }[]; total: number };
  /** Drops what was made ahead and ends the threads that did it; training may continue later. */
  release(): Promise<void>;
}
