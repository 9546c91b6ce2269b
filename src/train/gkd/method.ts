/**
 * Generalized knowledge distillation (Agarwal et al., 2024, "On-Policy Distillation of Language Models:
 * Learning from Self-Generated Mistakes", arXiv 2306.13649): the student learns the teacher's
 * distribution of each token of an answer, in a share of the steps of answers that it wrote itself.
 *
 * The loss is the mean divergence over the answers' tokens of the whole step. (TRL divides by the
 * tokens of the data's answers, also where the student answered.) Logits of student and teacher
 * exist a chunk of rows at a time.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "../../data/dataset.ts";
import type { VqaExample } from "../../data/rows/formats.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { turnEventLoop } from "../../device/event_loop.ts";
import { readBack } from "../../device/read_back.ts";
import { currentRanks, type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { countTokens, labelledRows, type ModelBatch } from "../../model/batch.ts";
import { joinRows } from "../../model/branches.ts";
import type { PassOptions } from "../../model/vlm.ts";
import { DropoutKeys } from "../../ops/activations.ts";
import { heldOutBatches } from "../batches/made_ahead.ts";
import { MicroBatches } from "../batches/micro_batches.ts";
import { answerRows, answerTokens, type PromptedAnswer } from "../batches/prompted_answer.ts";
import { evaluateSets, type SetOutcome } from "../loop/evaluate_sets.ts";
import { BaseMethod, evaluationTimes, type MethodOptions } from "../loop/base_method.ts";
import { frozenFeatures } from "../loop/log_prob_gradients.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  sizeOfRows,
  StepAborted,
  type StepContext,
  type StepOutcome,
} from "../loop/training_method.ts";
import type { AnswerMetrics } from "../run/answer_metrics.ts";
import type { AnswerSamples } from "../sft/method.ts";
import {
  type AnswerOptions,
  type AnswerSampler,
  type AnswerSource,
  answerSource,
  sampledAnswers,
} from "./answers.ts";
import type { GKDExampleMaker } from "./examples.ts";
import type { Teacher } from "./teacher.ts";

// M tokens of answers, C channels

/** Conversations for GKD, at random or in a stream. */
export type GKDDataset = Dataset<VqaExample> | StreamingDataset<VqaExample>;

/** What GKD works with. */
export interface GKDParts {
  /** The student, which trains. */
  readonly model: VisionLanguageModel;
  readonly teacher: Teacher;
  /** Rows → prompts with answers. */
  readonly maker: GKDExampleMaker;
  readonly dataset: GKDDataset;
  /** Held out; null: no evaluation. */
  readonly evalDataset: GKDDataset | null;
  /** Sample the answers of student and teacher. */
  readonly samplers: Readonly<Record<"student" | "teacher", AnswerSampler>>;
  /** Asks the model a few questions of the held-out data, for the report. */
  readonly answerSamples?: AnswerSamples | null;
  /** Scores generated answers to held-out questions. */
  readonly answerMetrics?: AnswerMetrics | null;
}

/** How GKD batches and what it minimises. */
export interface GKDMethodOptions extends MethodOptions, Omit<AnswerOptions, "seed"> {
  readonly disableDropout: boolean;
  /** The teacher's share of the mixture, 0 to 1. */
  readonly beta: number;
}

/** A micro-batch of answers. */
type Answers = readonly PromptedAnswer[];

/** GKD on one data set. */
export class GKDMethod extends BaseMethod<Answers> {
  readonly name = "gkd";
  readonly #data: MicroBatches<VqaExample, PromptedAnswer>;

  /** @param ranks which of several processes this is */
  constructor(
    readonly parts: GKDParts,
    readonly options: GKDMethodOptions,
    readonly ranks: Ranks = currentRanks(),
  ) {
    const { maker, dataset, evalDataset } = parts;
    const examples = new MicroBatches<VqaExample, PromptedAnswer>(
      dataset,
      (placed) => maker.make(placed),
      options,
      ranks,
    );
    super({ examples, tiles: maker.tiles, datasets: [dataset, evalDataset] });
    this.#data = examples;
  }

  get stepsPerEpoch(): number | null {
    return this.#data.stepsPerEpoch;
  }

  async step(
    { accumulator, parameters, step, signal, lossScale, more }: StepContext,
  ): Promise<StepOutcome> {
    const { model, teacher } = this.parts;
    const { lossReduction, disableDropout, gradientCheckpointing, seed } = this.options;
    const start = this.#data.cursor;
    const losses: tf.Scalar[] = [];
    const giveUp = () => {
      tf.dispose(losses);
      this.#data.seek(start);
      throw new StepAborted();
    };
    const { batches: read, numbers, count, epochEnded } = await this.#data.next(more);
    const source = answerSource(step, this.options);
    const sampling = performance.now();
    const batches = await this.#answered(read, numbers, { source, step, signal });
    if (batches === null || signal?.aborted) return giveUp();
    const sampled = (performance.now() - sampling) / 1000;
    this.lastBatches = batches;
    const counts = batches.map(answerTokens);
    const sizes = [counts.reduce((sum, n) => sum + n, 0), batches.flat().length];
    const [total, answers] = await sumNumbers(this.ranks, sizes, "the answers of a step");
    let tokens = 0, padding = 0;
    accumulator.expect(batches.length);
    for (const [k, examples] of batches.entries()) {
      await turnEventLoop();
      if (signal?.aborted) return giveUp();
      const divisor = lossReduction === "token" ? total : counts[k] * count;
      const batch = this.#batch(examples);
      const features = frozenFeatures(model, batch, parameters.keys());
      const rows = labelledRows(batch.labels!);
      const states = teacher.states(batch, rows);
      const pass = this.microSteps + numbers[k];
      try {
        const loss = () =>
          this.#divergences(batch, states, {
            dropoutKeys: disableDropout ? undefined : new DropoutKeys(seed, pass),
            checkpointing: gradientCheckpointing,
          }, features).sum().div(divisor) as tf.Scalar;
        losses.push(await accumulator.addLoss(loss, parameters, lossScale));
      } catch (error) {
        tf.dispose(losses);
        throw error;
      } finally {
        batch.dispose();
        features?.dispose();
        states.dispose();
      }
      const counted = countTokens(batch);
      padding += counted.padding;
      tokens += counted.tokens;
    }
    this.microSteps += count;
    return {
      losses,
      tokens,
      padding,
      metrics: {
        on_policy: source === "student" ? 1 : 0,
        "completions/mean_length": total / answers,
        ...(source === "data" ? {} : { "time/sampling": sampled }),
      },
      epoch: this.#data.epoch,
      epochEnded,
    };
  }

  #batch(examples: Answers): ModelBatch {
    const { model } = this.parts;
    return joinRows(answerRows(examples, model.imageTokenId), model.config);
  }

  /** The micro-batches of this rank with the answers of a step's source; null if aborted. */
  async #answered(
    batches: readonly Answers[],
    numbers: readonly number[],
    { source, step, signal }: {
      readonly source: AnswerSource;
      readonly step: number;
      readonly signal?: AbortSignal;
    },
  ): Promise<Answers[] | null> {
    if (source === "data") return [...batches];
    const { batchSize, gradientAccumulationSteps } = this.options;
    const first = step * batchSize * gradientAccumulationSteps;
    const examples = await sampledAnswers(this.parts.samplers[source], {
      examples: batches.flat(),
      // The same in whatever micro-batches and ranks a step is cut.
      ids: batches.flatMap((batch, k) => batch.map((_, i) => first + numbers[k] * batchSize + i)),
      maxLength: this.parts.maker.maxLength,
      signal,
    });
    if (examples === null) return null;
    let at = 0;
    return batches.map(({ length }) => examples.slice(at, at += length));
  }

  /** Divergences of the answers' tokens, [M]. */
  #divergences(
    batch: ModelBatch,
    states: tf.Tensor2D,
    options: PassOptions,
    features?: tf.Tensor,
  ): tf.Tensor1D {
    const { model, teacher } = this.parts;
    const rows = labelledRows(batch.labels!);
    const hidden = model.hiddenStates(batch, options, features, rows)
      .reshape([rows.length, -1]) as tf.Tensor2D; // [M, C]
    return model.divergenceTerms(
      hidden,
      (first, count) => teacher.logits(states, first, count),
      { ...options, divergence: { beta: this.options.beta } },
    );
  }

  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    const { evalDataset, answerSamples } = this.parts;
    if (evalDataset === null) return null;
    const outcome = await evaluateSets(evalDataset, (one) => this.#evaluateOne(one, signal));
    return outcome && { ...outcome, samples: await answerSamples?.(signal) ?? [] };
  }

  /** The divergence on the data's answers. */
  async #evaluateOne(dataset: GKDDataset, signal?: AbortSignal): Promise<SetOutcome | null> {
    const { maker, teacher, answerMetrics } = this.parts;
    const started = performance.now();
    let sum = 0, count = 0, examples = 0;
    const make = maker.make.bind(maker);
    const { evalBatchSize } = this.options;
    for await (const made of heldOutBatches(dataset, make, evalBatchSize, signal)) {
      const answers = made.map(({ made }) => made);
      this.lastBatches = [answers];
      const batch = this.#batch(answers);
      const states = teacher.states(batch, labelledRows(batch.labels!));
      try {
        const total = tf.tidy(() => this.#divergences(batch, states, {}).sum());
        const [[value]] = await readBack([total]);
        total.dispose();
        sum += value;
      } finally {
        batch.dispose();
        states.dispose();
      }
      count += answerTokens(answers);
      examples += answers.length;
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

  protected sizeOf(examples: Answers): BatchSize {
    return sizeOfRows(answerRows(examples, this.parts.model.imageTokenId));
  }

  protected describe(examples: Answers): unknown {
    return examples.map(({ row, promptIds, answerIds, images }) => ({
      row,
      promptIds,
      answerIds,
      tiles: images.map(({ tileCount }) => tileCount),
    }));
  }
}
