/**
 * What the training methods repeat: the examples that they read, their part of a checkpoint, and
 * what an error says about the last step.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { SkippedRows } from "../../data/rows/skipped_rows.ts";
import {
  type DataIdentity,
  dataIdentity,
  type IdentifiedData,
} from "../checkpoint/run_identity.ts";
import type { DataCursor } from "../batches/example_stream.ts";
import { type MicroBatchOptions, microBatchOptions } from "../batches/micro_batches.ts";
import type { TileCache } from "../batches/tile_cache.ts";
import type { Parameters } from "./gradients.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  largestBatch,
  type MethodState,
  skippedRowsOf,
  type StepContext,
  type StepOutcome,
  type TrainingMethod,
} from "./training_method.ts";

/** How SFT and DPO batch and average. */
export interface MethodOptions extends MicroBatchOptions {
  /** Examples of a batch of an evaluation. */
  readonly evalBatchSize: number;
  /**
   * `token`: averages run over the whole optimizer step; `micro_batch`: the mean of the
   * micro-batches' means (NanoVLM-Lab).
   */
  readonly lossReduction: "token" | "micro_batch";
  /** Compute what examples have in common once. */
  readonly sharePrefix: boolean;
  readonly gradientCheckpointing: boolean;
  /** NEFTune's noise on embeddings while training; 0 or absent: none. */
  readonly noiseAlpha?: number;
}

/** How a config batches and averages. */
export function methodOptions(training: TrainingSection): MethodOptions {
  return {
    ...microBatchOptions(training),
    evalBatchSize: training.per_device_eval_batch_size,
    lossReduction: training.loss_reduction,
    sharePrefix: training.share_prefix,
    gradientCheckpointing: training.gradient_checkpointing,
    noiseAlpha: training.neftune_noise_alpha ?? 0,
  };
}

/** Examples in training order, with the place where they stand. */
export interface ExampleSource {
  readonly cursor: DataCursor;
  /** Continues from a checkpoint. */
  seek(cursor: DataCursor): void;
  /** Drops what is being made ahead. */
  release(): Promise<void>;
  /** Most rows of a micro-batch, of examples that come in micro-batches. */
  readonly rows?: number;
  /** Makes micro-batches of that many rows at most, from the next step that is read. */
  cutTo?(rows: number): void;
}

/** A data set that counts the rows that cannot be used. */
export interface SkippingData extends IdentifiedData {
  readonly skipped: SkippedRows;
}

/** A reference that may follow the policy. */
export interface FollowingReference {
  /** Its tensors, if they change while training. */
  readonly state: Parameters;
  /** Called after each update, with the optimizer steps done. */
  follow(step: number): void;
}

/** What a method reads; its rows and the threads that decode their pictures. */
export interface MethodData {
  readonly examples: ExampleSource;
  readonly tiles: TileCache;
  /** Training and held-out data, for the rows that were skipped. */
  readonly datasets: readonly [training: SkippingData, evaluation: SkippingData | null];
  readonly reference?: FollowingReference | null;
}

/** The part of a checkpoint that every method has. */
export interface BaseState {
  readonly cursor: DataCursor;
  /** Micro-batches so far: their numbers choose the random numbers of dropout. */
  readonly microSteps: number;
  /** Rows of a micro-batch, if memory was too short for those of the config. */
  readonly microBatchSize?: number;
}

/** A training method, `B` one of its micro-batches. */
export abstract class BaseMethod<B> implements TrainingMethod {
  abstract readonly name: string;
  abstract readonly stepsPerEpoch: number | null;
  readonly #data: MethodData;
  #microBatchSize: number | null = null;
  /** Those of the last step or of the last evaluation. */
  protected lastBatches: readonly B[] = [];
  protected microSteps = 0;

  protected constructor(data: MethodData) {
    this.#data = data;
  }

  get data(): DataIdentity {
    return dataIdentity(this.#data.datasets[0]);
  }

  abstract step(context: StepContext): Promise<StepOutcome>;
  abstract evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null>;
  /** A micro-batch as JSON. */
  protected abstract describe(batch: B): unknown;
  protected abstract sizeOf(batch: B): BatchSize;

  describeLastBatch(): unknown {
    return this.lastBatches.map((batch) => this.describe(batch));
  }

  afterUpdate(step: number): void {
    this.#data.reference?.follow(step);
  }

  get reference(): Parameters {
    return this.#data.reference?.state ?? new Map();
  }

  get lastBatchSize(): BatchSize | null {
    return largestBatch(this.lastBatches.map((batch) => this.sizeOf(batch)));
  }

  state(): MethodState {
    const { cursor } = this.#data.examples;
    const microBatchSize = this.#microBatchSize ?? undefined;
    return {
      cursor,
      microSteps: this.microSteps,
      ...(microBatchSize === undefined ? {} : { microBatchSize }),
    };
  }

  restore(state: MethodState, _exact = true): void {
    const { cursor, microSteps, microBatchSize } = state as unknown as BaseState;
    if (microBatchSize !== undefined) this.#cutTo(microBatchSize);
    this.#data.examples.seek(cursor);
    this.microSteps = microSteps;
  }

  shrinkMicroBatches(): { rows: number; before: number } | null {
    const before = this.#data.examples.rows ?? 1;
    if (before === 1) return null;
    const rows = Math.floor(before / 2);
    this.#cutTo(rows);
    return { rows, before };
  }

  #cutTo(rows: number): void {
    const { examples } = this.#data;
    if (examples.cutTo === undefined || rows >= (examples.rows ?? 1)) return;
    examples.cutTo(rows);
    this.#microBatchSize = rows;
  }

  async release(): Promise<void> {
    await Promise.all([this.#data.examples.release(), this.#data.tiles.release()]);
  }

  skippedRows(): ReturnType<TrainingMethod["skippedRows"]> {
    return skippedRowsOf(this.#data.datasets);
  }
}

/** Seconds and examples a second of an evaluation, by Transformers' names. */
export function evaluationTimes(started: number, examples: number): Record<string, number> {
  const seconds = (performance.now() - started) / 1000;
  return { eval_runtime: seconds, eval_samples_per_second: examples / seconds };
}
