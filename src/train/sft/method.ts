/**
 * Supervised fine-tuning: cross-entropy of the answers' tokens.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { turnEventLoop } from "../../device/event_loop.ts";
import { readBack } from "../../device/read_back.ts";
import { countTokens } from "../../model/batch.ts";
import { joinRows, type PackedRow } from "../../model/branches.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { DropoutKeys } from "../../ops/dropout.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { DataCursor, PlacedExample } from "../batches/example_stream.ts";
import { frozenFeatures } from "../loop/log_prob_gradients.ts";
import {
  examplesInOrder,
  madeAhead,
  MicroBatches,
  type MicroBatchOptions,
} from "../batches/micro_batches.ts";
import { packExamples, type SFTExample, type SFTExampleMaker } from "./examples.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  largestBatch,
  type MethodState,
  sizeOfRows,
  skippedRowsOf,
  type StepContext,
  type StepOutcome,
  type TrainingMethod,
} from "../loop/training_method.ts";

/** Questions for SFT, at random or in a stream. */
export type SFTDataset = Dataset<VqaExample> | StreamingDataset<VqaExample>;

/** Asks the model a few questions; `signal` ends it as it ends an evaluation. */
export type AnswerSamples = (signal?: AbortSignal) => Promise<readonly EvaluationSample[]>;

/** How SFT batches and averages. */
export interface SFTOptions extends MicroBatchOptions {
  evalBatchSize: number;
  /**
   * `token`: the mean over all label tokens of the optimizer step; `micro_batch`: the mean of the
   * micro-batches' means (NanoVLM-Lab).
   */
  lossReduction: "token" | "micro_batch";
  sharePrefix: boolean;
  gradientCheckpointing: boolean;
}

/** Label tokens of a batch. */
function labelCount(examples: readonly SFTExample[]): number {
  let count = 0;
  for (const { labels } of examples) for (const label of labels) if (label !== -100) count++;
  return count;
}

/** SFT on one data set. */
export class SFTMethod implements TrainingMethod {
  readonly name = "sft";
  readonly #microBatches: MicroBatches<VqaExample, SFTExample>;
  #microSteps = 0;
  #lastBatches: SFTExample[][] = [];
  #sizes: BatchSize[] = [];

  /**
   * @param model what trains
   * @param maker rows → examples
   * @param dataset to train on
   * @param evalDataset held out; null: no evaluation
   * @param options batches and averages
   * @param answerSamples asks the model a few questions of the held-out data, for the report
   */
  constructor(
    readonly model: VisionLanguageModel,
    readonly maker: SFTExampleMaker,
    readonly dataset: SFTDataset,
    readonly evalDataset: SFTDataset | null,
    readonly options: SFTOptions,
    readonly answerSamples: AnswerSamples | null = null,
  ) {
    this.#microBatches = new MicroBatches(dataset, (placed) => maker.make(placed), options);
  }

  get stepsPerEpoch(): number | null {
    return this.#microBatches.stepsPerEpoch;
  }

  #rows(examples: readonly SFTExample[]): PackedRow[] {
    return packExamples(examples, this.options.sharePrefix, this.model.imageTokenId);
  }

  async step({ accumulator, parameters, lossScale, more }: StepContext): Promise<StepOutcome> {
    const { batches, epochEnded } = await this.#microBatches.next(more);
    this.#lastBatches = batches;
    const counts = batches.map(labelCount);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const losses: tf.Scalar[] = [];
    let tokens = 0, padding = 0;
    const packed = batches.map((examples) => this.#rows(examples));
    this.#sizes = packed.map(sizeOfRows);
    for (const [k, rows] of packed.entries()) {
      const divisor = this.options.lossReduction === "token" ? total : counts[k] * batches.length;
      await turnEventLoop();
      const dropoutKeys = new DropoutKeys(this.options.seed, this.#microSteps++);
      const batch = joinRows(rows, this.model.config);
      const features = frozenFeatures(this.model, batch, parameters.keys());
      const options = { dropoutKeys, checkpointing: this.options.gradientCheckpointing };
      try {
        const loss = () =>
          this.model.labelLogProbs(batch, options, features)!.sum().div(-divisor) as tf.Scalar;
        losses.push(accumulator.addLoss(loss, parameters, lossScale));
      } catch (error) {
        tf.dispose(losses);
        throw error;
      } finally {
        batch.dispose();
        features?.dispose();
      }
      const counted = countTokens(batch);
      padding += counted.padding;
      tokens += counted.tokens;
    }
    return { losses, tokens, padding, epoch: this.#microBatches.epoch, epochEnded };
  }

  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    if (this.evalDataset === null) return null;
    const started = performance.now();
    let sum = 0, count = 0, examples = 0;
    let batch: SFTExample[] = [];
    const flush = async () => {
      const modelBatch = joinRows(this.#rows(batch), this.model.config);
      try {
        const total = tf.tidy(() => this.model.labelLogProbs(modelBatch)!.sum());
        const [[value]] = await readBack([total]);
        total.dispose();
        sum -= value;
      } finally {
        modelBatch.dispose();
      }
      signal?.throwIfAborted();
      count += labelCount(batch);
      examples += batch.length;
      batch = [];
    };
    const make = (placed: PlacedExample<VqaExample>) => this.maker.make(placed);
    const ahead = this.options.evalBatchSize, rows = examplesInOrder(this.evalDataset, true);
    for await (const { made } of madeAhead(rows, this.evalDataset, make, ahead)) {
      batch.push(made);
      if (batch.length === this.options.evalBatchSize) await flush();
    }
    if (batch.length > 0) await flush();
    if (count === 0) return null;
    const seconds = (performance.now() - started) / 1000;
    return {
      metrics: {
        eval_loss: sum / count,
        eval_runtime: seconds,
        eval_samples_per_second: examples / seconds,
      },
      samples: await this.answerSamples?.(signal) ?? [],
    };
  }

  get lastBatchSize(): BatchSize | null {
    return largestBatch(this.#sizes);
  }

  describeLastBatch(): unknown {
    return this.#lastBatches.map((batch) =>
      batch.map(({ inputIds, labels, images, row }) => ({
        row,
        inputIds,
        labels,
        tiles: images.map(({ tileCount }) => tileCount),
      }))
    );
  }

  state(): MethodState {
    return { cursor: this.#microBatches.cursor, microSteps: this.#microSteps };
  }

  restore(state: MethodState): void {
    const { cursor, microSteps } = state as { cursor: DataCursor; microSteps: number };
    this.#microBatches.seek(cursor);
    this.#microSteps = microSteps;
  }

  async release(): Promise<void> {
    await Promise.all([this.#microBatches.release(), this.maker.tiles.release()]);
  }

  skippedRows(): { rows: readonly { place: string; reason: string }[]; total: number } {
    return skippedRowsOf([this.dataset, this.evalDataset]);
  }
}
