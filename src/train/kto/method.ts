/**
 * Kahneman-Tversky optimization (Ethayarajh et al., 2024, arXiv 2402.01306): good answers become
 * likelier and bad ones less likely, measured against the reference and its divergence.
 *
 * The divergence is estimated over the answers of a whole optimizer step, each under the prompt of
 * another, so that k micro-batches give the loss and gradient of one batch. TRL estimates it over each
 * micro-batch, which is what `loss_reduction: micro_batch` does.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "../../data/dataset.ts";
import type { UnpairedExample } from "../../data/rows/formats.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { turnEventLoop } from "../../device/event_loop.ts";
import { readBack } from "../../device/read_back.ts";
import { embeddingNoise } from "../../model/embedding_noise.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { ktoLoss, type KTOLossOptions, mismatchedDivergence } from "../../losses/kto.ts";
import { countTokens, type ModelBatch } from "../../model/batch.ts";
import { joinRows, type PackedRow } from "../../model/branches.ts";
import { DropoutKeys } from "../../ops/activations.ts";
import { heldOutBatches } from "../batches/made_ahead.ts";
import { MicroBatches } from "../batches/micro_batches.ts";
import { answerRows } from "../batches/prompted_answer.ts";
import { BaseMethod, evaluationTimes, type MethodOptions } from "../loop/base_method.ts";
import { logProbGradients } from "../loop/log_prob_gradients.ts";
import { evaluateSets, type SetOutcome } from "../loop/evaluate_sets.ts";
import type { ReferencePolicy } from "../loop/reference_policy.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  sizeOfRows,
  StepAborted,
  type StepContext,
  type StepOutcome,
} from "../loop/training_method.ts";
import { type KTOExample, type KTOExampleMaker, spreadAnswers, sumAnswers } from "./examples.ts";

/** Answers for KTO, at random or in a stream. */
export type KTODataset = Dataset<UnpairedExample> | StreamingDataset<UnpairedExample>;

/** What KTO works with. */
export interface KTOParts {
  /** What trains. */
  readonly model: VisionLanguageModel;
  /** Rows → answers. */
  readonly maker: KTOExampleMaker;
  readonly dataset: KTODataset;
  /** Held out; null: no evaluation. */
  readonly evalDataset: KTODataset | null;
  readonly reference: ReferencePolicy;
}

/** How KTO batches and what it minimises. */
export interface KTOMethodOptions extends MethodOptions {
  readonly disableDropout: boolean;
  readonly loss: Omit<KTOLossOptions, "answers">;
}

/** KTO on one data set. */
export class KTOMethod extends BaseMethod<readonly KTOExample[]> {
  readonly name = "dpo";
  readonly #data: MicroBatches<UnpairedExample, KTOExample>;

  constructor(readonly parts: KTOParts, readonly options: KTOMethodOptions) {
    const { maker, dataset, evalDataset } = parts;
    const examples = new MicroBatches<UnpairedExample, KTOExample>(
      dataset,
      (placed) => maker.make(placed),
      options,
    );
    super({
      examples,
      tiles: maker.tiles,
      datasets: [dataset, evalDataset],
      reference: parts.reference,
    });
    this.#data = examples;
  }

  get stepsPerEpoch(): number | null {
    return this.#data.stepsPerEpoch;
  }

  #rows(examples: readonly KTOExample[]): PackedRow[] {
    return answerRows(examples, this.parts.model.imageTokenId);
  }

  #batch(examples: readonly KTOExample[]): ModelBatch {
    return joinRows(this.#rows(examples), this.parts.model.config);
  }

  /** log π of whole answers under policy and reference, without gradients, [N] each. */
  async #score(
    examples: readonly KTOExample[],
    which: { readonly policy: boolean },
  ): Promise<{ policy: Float64Array | null; reference: Float64Array }> {
    const { model, reference } = this.parts;
    const batch = this.#batch(examples);
    const tensors: tf.Tensor[] = [];
    try {
      tensors.push(
        reference.run((options) => tf.tidy(() => model.labelLogProbs(batch, options)!)),
      );
      if (which.policy) tensors.push(tf.tidy(() => model.labelLogProbs(batch)!));
      const [theirs, ours] = await readBack(tensors);
      return {
        reference: sumAnswers(examples, theirs),
        policy: which.policy ? sumAnswers(examples, ours) : null,
      };
    } finally {
      tf.dispose(tensors);
      batch.dispose();
    }
  }

  /** The divergence that each micro-batch's loss compares with. */
  async #divergences(batches: readonly (readonly KTOExample[])[]): Promise<number[]> {
    if (this.options.loss.lossType !== "kto") return batches.map(() => 0);
    const { maker } = this.parts;
    const whole = maker.mismatched(batches.flat());
    const found: { ours: Float64Array; theirs: Float64Array }[] = [];
    let at = 0;
    for (const batch of batches) {
      const rows = this.options.lossReduction === "token"
        ? whole.slice(at, at + batch.length)
        : maker.mismatched(batch);
      at += batch.length;
      const { policy, reference } = await this.#score(rows, { policy: true });
      found.push({ ours: policy!, theirs: reference });
    }
    if (this.options.lossReduction !== "token") {
      return found.map(({ ours, theirs }) => mismatchedDivergence(ours, theirs));
    }
    const divergence = mismatchedDivergence(
      found.flatMap(({ ours }) => [...ours]),
      found.flatMap(({ theirs }) => [...theirs]),
    );
    return batches.map(() => divergence);
  }

  async step(
    { accumulator, parameters, signal, lossScale, more }: StepContext,
  ): Promise<StepOutcome> {
    const start = this.#data.cursor;
    const { batches, epochEnded } = await this.#data.next(more);
    this.lastBatches = batches;
    const { loss: lossOptions, lossReduction, disableDropout, seed } = this.options;
    const { model } = this.parts;
    const whole = batches.flat();
    const stopIfAborted = () => {
      if (!signal?.aborted) return;
      this.#data.seek(start);
      throw new StepAborted();
    };
    stopIfAborted();
    const divergences = await this.#divergences(batches);
    const policies: number[] = [], references: number[] = [];
    let tokens = 0, padding = 0, loss = 0;
    accumulator.expect(batches.length);
    for (const [k, examples] of batches.entries()) {
      await turnEventLoop();
      stopIfAborted();
      const { reference } = await this.#score(examples, { policy: false });
      const batch = this.#batch(examples);
      const answers = lossReduction === "token" ? whole.length : examples.length * batches.length;
      const pass = this.microSteps + k;
      try {
        const values = await logProbGradients(
          () =>
            model.labelLogProbs(batch, {
              dropoutKeys: disableDropout ? undefined : new DropoutKeys(seed, pass),
              checkpointing: this.options.gradientCheckpointing,
              embeddingNoise: embeddingNoise(
                this.options.noiseAlpha,
                { seed, pass },
                this.#rows(examples),
              ),
            })!,
          (values) => {
            const result = ktoLoss({
              logProbs: sumAnswers(examples, values),
              refLogProbs: reference,
              desirable: examples.map(({ desirable }) => desirable),
              divergence: divergences[k],
            }, { ...lossOptions, answers });
            loss += result.loss;
            return spreadAnswers(examples, result.gradLogProbs);
          },
          parameters,
          accumulator,
          lossScale,
        );
        policies.push(...sumAnswers(examples, values));
        references.push(...reference);
        const counted = countTokens(batch);
        padding += counted.padding;
        tokens += counted.tokens;
      } finally {
        batch.dispose();
      }
    }
    this.microSteps += batches.length;
    const { metrics } = ktoLoss({
      logProbs: policies,
      refLogProbs: references,
      desirable: whole.map(({ desirable }) => desirable),
      divergence: divergences.reduce((sum, value) => sum + value, 0) / divergences.length,
    }, lossOptions);
    return {
      losses: [tf.scalar(loss)],
      tokens,
      padding,
      metrics,
      epoch: this.#data.epoch,
      epochEnded,
    };
  }

  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    const { evalDataset } = this.parts;
    if (evalDataset === null) return null;
    return await evaluateSets(evalDataset, (one) => this.#evaluateOne(one, signal));
  }

  async #evaluateOne(dataset: KTODataset, signal?: AbortSignal): Promise<SetOutcome | null> {
    const { maker } = this.parts;
    const started = performance.now();
    const make = maker.make.bind(maker);
    const policies: number[] = [], references: number[] = [], desirable: boolean[] = [];
    const ours: number[] = [], theirs: number[] = [];
    for await (const batch of heldOutBatches(dataset, make, this.options.evalBatchSize, signal)) {
      const examples = batch.map(({ made }) => made);
      this.lastBatches = [examples];
      const { policy, reference } = await this.#score(examples, { policy: true });
      policies.push(...policy!);
      references.push(...reference);
      desirable.push(...examples.map((example) => example.desirable));
      if (this.options.loss.lossType !== "kto") continue;
      const other = await this.#score(maker.mismatched(examples), { policy: true });
      ours.push(...other.policy!);
      theirs.push(...other.reference);
    }
    if (policies.length === 0) return null;
    const { loss, metrics } = ktoLoss({
      logProbs: policies,
      refLogProbs: references,
      desirable,
      divergence: mismatchedDivergence(ours, theirs),
    }, this.options.loss);
    const named = Object.entries(metrics).map(([name, value]) => [`eval_${name}`, value]);
    return {
      metrics: {
        eval_loss: loss,
        ...Object.fromEntries(named),
        ...evaluationTimes(started, policies.length),
      },
      samples: [],
      examples: policies.length,
    };
  }

  /** Those of the last step or of the last evaluation, by micro-batch. */
  get lastExamples(): readonly (readonly KTOExample[])[] {
    return this.lastBatches;
  }

  protected sizeOf(examples: readonly KTOExample[]): BatchSize {
    return sizeOfRows(answerRows(examples, this.parts.model.imageTokenId));
  }

  protected describe(examples: readonly KTOExample[]): unknown {
    return examples.map(({ row, promptIds, answerIds, desirable, images }) => ({
      row,
      promptIds,
      answerIds,
      desirable,
      tiles: images.map(({ tileCount }) => tileCount),
    }));
  }
}
