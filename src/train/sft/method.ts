/**
 * Supervised fine-tuning: cross-entropy of the answers' tokens.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { SFTSection } from "../../config/types/config_types.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { turnEventLoop } from "../../device/event_loop.ts";
import { readBack } from "../../device/read_back.ts";
import { currentRanks, type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import { IGNORED_LABEL } from "../../ignored_label.ts";
import { countTokens } from "../../model/batch.ts";
import { joinRows, type PackedRow } from "../../model/branches.ts";
import { embeddingNoise } from "../../model/embedding_noise.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { DropoutKeys } from "../../ops/activations.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import { heldOutBatches } from "../batches/made_ahead.ts";
import { MicroBatches, type StepBatches } from "../batches/micro_batches.ts";
import { BaseMethod, evaluationTimes, type MethodOptions } from "../loop/base_method.ts";
import { evaluateSets, type SetOutcome } from "../loop/evaluate_sets.ts";
import { frozenFeatures } from "../loop/log_prob_gradients.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  onThisRank,
  sizeOfRows,
  type StepContext,
  type StepOutcome,
} from "../loop/training_method.ts";
import type { AnswerMetrics } from "../run/answer_metrics.ts";
import { tokenLosses } from "./token_losses.ts";
import { exampleRows, exampleUnits, type SFTExample, type SFTExampleMaker } from "./examples.ts";

/** Questions for SFT, at random or in a stream. */
export type SFTDataset = Dataset<VqaExample> | StreamingDataset<VqaExample>;

/** Asks the model a few questions; `signal` ends it as it ends an evaluation. */
export type AnswerSamples = (signal?: AbortSignal) => Promise<readonly EvaluationSample[]>;

/** What SFT works with. */
export interface SFTParts {
  /** What trains. */
  readonly model: VisionLanguageModel;
  /** Rows → examples. */
  readonly maker: SFTExampleMaker;
  readonly dataset: SFTDataset;
  /** Held out; null: no evaluation. */
  readonly evalDataset: SFTDataset | null;
  /** Asks the model a few questions of the held-out data, for the report. */
  readonly answerSamples?: AnswerSamples | null;
  /** Scores generated answers to held-out questions. */
  readonly answerMetrics?: AnswerMetrics | null;
}

/** How SFT batches and averages, and what it minimises. */
export interface SFTMethodOptions extends MethodOptions {
  readonly lossType: SFTSection["loss_type"];
}

/** Label tokens of a batch. */
function labelCount(examples: readonly SFTExample[]): number {
  let count = 0;
  for (const { labels } of examples) {
    for (const label of labels) if (label !== IGNORED_LABEL) count++;
  }
  return count;
}

/** Label tokens of a batch, each times the weight of its example. */
function weightedLabelCount(examples: readonly SFTExample[]): number {
  return examples.reduce((sum, example) => sum + example.weight * labelCount([example]), 0);
}

/** The weight of each label token, in their order in a batch; null if all are 1. */
function tokenWeights(examples: readonly SFTExample[]): tf.Tensor1D | null {
  if (examples.every(({ weight }) => weight === 1)) return null;
  return tf.tensor1d(
    examples.flatMap((example) => new Array<number>(labelCount([example])).fill(example.weight)),
  );
}

function meanWeight(examples: readonly SFTExample[]): number {
  return examples.reduce((sum, { weight }) => sum + weight, 0) / examples.length;
}

/** A step's micro-batches of this rank, with their label tokens. */
interface CountedBatches extends Pick<StepBatches<SFTExample>, "batches" | "numbers" | "count"> {
  /** Of each micro-batch, times the weights of its examples. */
  readonly counts: readonly number[];
  /** Of the step, on all ranks. */
  readonly total: number;
}

/** SFT on one data set. */
export class SFTMethod extends BaseMethod<readonly SFTExample[]> {
  readonly name = "sft";
  readonly #examples: MicroBatches<VqaExample, SFTExample>;

  /** @param ranks which of several processes this is */
  constructor(
    readonly parts: SFTParts,
    readonly options: SFTMethodOptions,
    readonly ranks: Ranks = currentRanks(),
  ) {
    const { maker, dataset, evalDataset } = parts;
    const examples = new MicroBatches<VqaExample, SFTExample>(
      dataset,
      (placed) => maker.make(placed),
      {
        ...options,
        units: (examples) => exampleUnits(examples, options.sharePrefix, parts.model.imageTokenId),
      },
      ranks,
    );
    super({ examples, tiles: maker.tiles, datasets: [dataset, evalDataset] });
    this.#examples = examples;
  }

  get stepsPerEpoch(): number | null {
    return this.#examples.stepsPerEpoch;
  }

  #rows(examples: readonly SFTExample[]): PackedRow[] {
    return exampleRows(examples, this.options.sharePrefix, this.parts.model.imageTokenId);
  }

  async step(context: StepContext): Promise<StepOutcome> {
    const { more, together = onThisRank } = context;
    const { batches, numbers, count, epochEnded } = await this.#examples.next(more);
    this.lastBatches = batches;
    // Sums of weights: without weights, the numbers of label tokens.
    const counts = batches.map(weightedLabelCount);
    const own = counts.reduce((sum, count) => sum + count, 0);
    const [total] = await sumNumbers(this.ranks, [own], "the label tokens of a step");
    const step = { batches, numbers, count, counts, total };
    const losses: tf.Scalar[] = [];
    const counted = await together(() => this.#gradients(context, step, losses)).catch((error) => {
      tf.dispose(losses);
      throw error;
    });
    this.microSteps += count;
    const examples = batches.flat();
    const metrics: Record<string, number> = {
      ...(this.options.budget ? { micro_batches: count } : {}),
      ...(this.parts.maker.options.weightColumn && examples.length > 0
        ? { sample_weight: meanWeight(examples) }
        : {}),
    };
    return { losses, ...counted, metrics, epoch: this.#examples.epoch, epochEnded };
  }

  /** The gradients of this rank's micro-batches; their losses go to `losses`, also if one fails. */
  async #gradients(
    { accumulator, parameters, lossScale }: StepContext,
    { batches, numbers, count, counts, total }: CountedBatches,
    losses: tf.Scalar[],
  ): Promise<Pick<StepOutcome, "tokens" | "padding">> {
    const { model } = this.parts;
    const { seed, noiseAlpha, lossReduction, gradientCheckpointing, lossType } = this.options;
    const tokenLoss = tokenLosses[lossType];
    let tokens = 0, padding = 0;
    accumulator.expect(batches.length);
    for (const [k, examples] of batches.entries()) {
      // If all weights are 0, so is the loss.
      const divisor = (lossReduction === "token" ? total : counts[k] * count) || 1;
      await turnEventLoop();
      const pass = this.microSteps + numbers[k];
      const dropoutKeys = new DropoutKeys(seed, pass);
      const rows = this.#rows(examples);
      const batch = joinRows(rows, model.config);
      const features = frozenFeatures(model, batch, parameters.keys());
      const options = {
        dropoutKeys,
        checkpointing: gradientCheckpointing,
        embeddingNoise: embeddingNoise(noiseAlpha, { seed, pass }, rows),
      };
      const weights = tokenWeights(examples);
      try {
        const loss = () => {
          const plain = tokenLoss(model.labelLogProbs(batch, options, features)!);
          return (weights === null ? plain : plain.mul(weights)).sum().div(divisor) as tf.Scalar;
        };
        losses.push(await accumulator.addLoss(loss, parameters, lossScale));
      } finally {
        batch.dispose();
        features?.dispose();
        weights?.dispose();
      }
      const counted = countTokens(batch);
      padding += counted.padding;
      tokens += counted.tokens;
    }
    return { tokens, padding };
  }

  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    const { evalDataset, answerSamples } = this.parts;
    if (evalDataset === null) return null;
    const outcome = await evaluateSets(evalDataset, (one) => this.#evaluateOne(one, signal));
    return outcome && { ...outcome, samples: await answerSamples?.(signal) ?? [] };
  }

  async #evaluateOne(dataset: SFTDataset, signal?: AbortSignal): Promise<SetOutcome | null> {
    const { model, maker, answerMetrics } = this.parts;
    const started = performance.now();
    const tokenLoss = tokenLosses[this.options.lossType];
    let sum = 0, count = 0, examples = 0;
    const make = maker.make.bind(maker);
    const { evalBatchSize } = this.options;
    for await (const batch of heldOutBatches(dataset, make, evalBatchSize, signal)) {
      const made = batch.map(({ made }) => made);
      this.lastBatches = [made];
      const modelBatch = joinRows(this.#rows(made), model.config);
      try {
        const total = tf.tidy(() => tokenLoss(model.labelLogProbs(modelBatch)!).sum());
        const [[value]] = await readBack([total]);
        total.dispose();
        sum += value;
      } finally {
        modelBatch.dispose();
      }
      count += labelCount(made);
      examples += made.length;
    }
    if (count === 0) return null;
    return {
      metrics: {
        eval_loss: sum / count,
        ...evaluationTimes(started, examples),
        ...await answerMetrics?.(dataset, signal),
      },
      samples: [],
      examples,
      lossWeight: count,
    };
  }

  protected sizeOf(examples: readonly SFTExample[]): BatchSize {
    return sizeOfRows(this.#rows(examples));
  }

  protected describe(examples: readonly SFTExample[]): unknown {
    return examples.map(({ inputIds, labels, images, row }) => ({
      row,
      inputIds,
      labels,
      tiles: images.map(({ tileCount }) => tileCount),
    }));
  }
}
