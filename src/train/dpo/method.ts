/**
 * Direct preference optimization (Rafailov et al., 2023, arXiv 2305.18290) and its relatives: a
 * loss of the log-probabilities of whole answers, under the policy and under a reference.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "../../data/dataset.ts";
import type { PreferenceExample } from "../../data/rows/formats.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import { turnEventLoop } from "../../device/event_loop.ts";
import { currentRanks, type Ranks, sumNumbers } from "../../distributed/ranks.ts";
import { readBack } from "../../device/read_back.ts";
import { dpoLoss, type DPOLossOptions, type DPOLossResult } from "../../losses/dpo.ts";
import { countTokens, type ModelBatch } from "../../model/batch.ts";
import { joinRows, type PackedRow } from "../../model/branches.ts";
import { embeddingNoise } from "../../model/embedding_noise.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import { DropoutKeys } from "../../ops/activations.ts";
import { chooseAnswers } from "../../report/choose_answers.ts";
import type { AnswerMetrics } from "../run/answer_metrics.ts";
import { AnswerLogits } from "./answer_logits.ts";
import { PairSamples, PreferenceCounts } from "./evaluation.ts";
import {
  chosenTokens,
  type DPOExampleMaker,
  type DPOPair,
  joinPairs,
  lossInputs,
  type PairLogProbs,
  pairRows,
  pairUnits,
  policyWeights,
  spreadPairs,
  sumPairs,
} from "./examples.ts";
import { type DPOReference, FrozenReference } from "./reference.ts";
import { type MicroBatchPairs, stepPairs } from "./step_pairs.ts";
import type { Parameters } from "../loop/gradients.ts";
import {
  frozenFeatures,
  LabelledStates,
  logProbGradients,
  readLogProbs,
} from "../loop/log_prob_gradients.ts";
import { evaluateSets, type SetOutcome } from "../loop/evaluate_sets.ts";
import { heldOutBatches } from "../batches/made_ahead.ts";
import { MicroBatches } from "../batches/micro_batches.ts";
import { BaseMethod, evaluationTimes, type MethodOptions } from "../loop/base_method.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  onThisRank,
  sizeOfRows,
  StepAborted,
  type StepContext,
  type StepOutcome,
} from "../loop/training_method.ts";

/** Pairs for DPO, at random or in a stream. */
export type DPODataset = Dataset<PreferenceExample> | StreamingDataset<PreferenceExample>;

/** What DPO works with. */
export interface DPOParts {
  /** What trains. */
  readonly model: VisionLanguageModel;
  /** Rows → pairs. */
  readonly maker: DPOExampleMaker;
  readonly dataset: DPODataset;
  /** Held out; null: no evaluation. */
  readonly evalDataset: DPODataset | null;
  /** Of the loss; null: reference-free. */
  readonly reference: DPOReference | null;
  /** Scores generated answers to held-out prompts. */
  readonly answerMetrics?: AnswerMetrics | null;
}

/** How DPO batches and averages, and what it minimises. */
export interface DPOMethodOptions extends MethodOptions {
  readonly disableDropout: boolean;
  /** The loss; the method sets `wholeBatch`. */
  readonly loss: Omit<DPOLossOptions, "wholeBatch">;
  /** LD-DPO's weight of tokens beyond the shorter answer's length; null: 1. */
  readonly ldAlpha: number | null;
  /** Weigh pairs by how likely the policy finds them (WPO). */
  readonly useWeighting: boolean;
}

/** A batch of pairs, prepared for the policy's passes. */
interface Prepared {
  readonly pairs: readonly DPOPair[];
  readonly rows: readonly PackedRow[];
  readonly batch: ModelBatch;
  readonly features: tf.Tensor | undefined;
  readonly reference: PairLogProbs | null;
}

/** DPO on one data set. */
export class DPOMethod extends BaseMethod<readonly DPOPair[]> {
  readonly name = "dpo";
  readonly #data: MicroBatches<PreferenceExample, DPOPair>;
  #counts: PreferenceCounts | null = null;

  /** @param ranks which of several processes this is */
  constructor(
    readonly parts: DPOParts,
    readonly options: DPOMethodOptions,
    readonly ranks: Ranks = currentRanks(),
  ) {
    const { maker, dataset, evalDataset } = parts;
    const examples = new MicroBatches<PreferenceExample, DPOPair>(
      dataset,
      (placed) => maker.make(placed),
      {
        ...options,
        units: (pairs) => pairUnits(pairs, options.sharePrefix, parts.model.imageTokenId),
      },
      ranks,
    );
    const reference = parts.reference instanceof FrozenReference ? parts.reference.policy : null;
    super({ examples, tiles: maker.tiles, datasets: [dataset, evalDataset], reference });
    this.#data = examples;
  }

  get stepsPerEpoch(): number | null {
    return this.#data.stepsPerEpoch;
  }

  #rows(pairs: readonly DPOPair[]): PackedRow[] {
    return pairRows(pairs, this.options.sharePrefix, this.parts.model.imageTokenId);
  }

  /** A batch, its image features if policy and reference have the same, and the reference. */
  async #prepare(pairs: readonly DPOPair[], parameters: Parameters): Promise<Prepared> {
    const { model } = this.parts;
    const rows = this.#rows(pairs);
    const batch = joinRows(rows, model.config);
    // The reference runs without the adapters of the vision encoder, if it has any.
    const changing = [...parameters.keys(), ...model.adapters.keys()];
    const features = frozenFeatures(model, batch, changing);
    try {
      const reference = await this.parts.reference?.logProbs({ pairs, batch, features }) ?? null;
      return { pairs, rows, batch, features, reference };
    } catch (error) {
      batch.dispose();
      features?.dispose();
      throw error;
    }
  }

  /** Computes the policy's token log-probabilities; each call gives the same values. */
  #policy(
    { rows, batch, features }: Prepared,
    pass: number,
    observeLabelled?: PassOptions["observeLabelled"],
    temperature = 1,
  ): () => tf.Tensor1D {
    const { disableDropout, seed, noiseAlpha, gradientCheckpointing } = this.options;
    return () =>
      this.parts.model.labelLogProbs(
        batch,
        {
          dropoutKeys: disableDropout ? undefined : new DropoutKeys(seed, pass),
          checkpointing: gradientCheckpointing,
          embeddingNoise: embeddingNoise(noiseAlpha, { seed, pass }, rows),
          observeLabelled,
        },
        features,
        temperature,
      )!;
  }

  /** Whether a loss sorts over the batch, so that each gradient needs the values of all pairs. */
  get #transports(): boolean {
    return this.options.loss.lossTypes.some((type) => type === "aot" || type === "aot_unpaired");
  }

  /**
   * Log-probabilities at temperature 1/2, for WPO's weights; null without them.
   *
   * @param pass the same as that of the log-probabilities themselves
   */
  async #sharpened(prepared: Prepared, pass: number): Promise<Float32Array | null> {
    if (!this.options.useWeighting) return null;
    return await readLogProbs(this.#policy(prepared, pass, undefined, 0.5));
  }

  /** What the loss sees of the policy. */
  #sums(
    pairs: readonly DPOPair[],
    values: ArrayLike<number>,
    sharpened: ArrayLike<number> | null,
  ): PairLogProbs {
    const sums = sumPairs(pairs, values, this.options.ldAlpha);
    return sharpened ? { ...sums, weights: policyWeights(pairs, values, sharpened) } : sums;
  }

  /** d loss / d log-prob of the tokens of some pairs, which are those from `first` on in `result`. */
  #spread(pairs: readonly DPOPair[], result: DPOLossResult, first = 0): Float32Array {
    const own = (values: Float64Array) => values.subarray(first, first + pairs.length);
    const { gradChosenTokenLogProbs: plain } = result;
    return spreadPairs(pairs, {
      byChosen: own(result.gradChosenLogProbs),
      byRejected: own(result.gradRejectedLogProbs),
      byPlainChosen: plain && own(plain),
    }, this.options.ldAlpha);
  }

  async step(
    { accumulator, parameters, signal, lossScale, more, together = onThisRank }: StepContext,
  ): Promise<StepOutcome> {
    const start = this.#data.cursor;
    const { batches, numbers, count, epochEnded } = await this.#data.next(more);
    this.lastBatches = batches;
    const { loss: lossOptions, lossReduction } = this.options;
    const sizes = [batches.flat().length, chosenTokens(batches.flat())];
    const [pairCount, tokenCount] = await sumNumbers(this.ranks, sizes, "the pairs of a step");
    const whole = { pairs: pairCount, chosenTokens: tokenCount };
    const coupled = count > 1 && lossReduction === "token" && this.#transports;
    const slopes = coupled ? await this.#coupledSlopes(batches, numbers, parameters) : null;

    const scored: MicroBatchPairs[] = [];
    using logits = new AnswerLogits(this.parts.model);
    const meanLogits: tf.Tensor1D[] = [];
    let tokens = 0, padding = 0, loss = 0;
    const compute = async () => {
      accumulator.expect(batches.length);
      for (const [k, pairs] of batches.entries()) {
        const wholeBatch = lossReduction === "token" ? whole : {
          pairs: pairs.length * count,
          chosenTokens: chosenTokens(pairs) * count,
        };
        await turnEventLoop();
        if (signal?.aborted) {
          this.#data.seek(start);
          throw new StepAborted();
        }
        const prepared = await this.#prepare(pairs, parameters);
        const { batch, features, reference } = prepared;
        const kept = new LabelledStates();
        const pass = this.microSteps + numbers[k];
        try {
          const sharpened = await this.#sharpened(prepared, pass);
          const values = await logProbGradients(
            this.#policy(prepared, pass, kept.observe),
            (values) => {
              if (slopes) return slopes[k];
              const inputs = lossInputs(pairs, this.#sums(pairs, values, sharpened), reference);
              const result = dpoLoss(inputs, { ...lossOptions, wholeBatch });
              loss += result.loss;
              return this.#spread(pairs, result);
            },
            parameters,
            accumulator,
            lossScale,
          );
          const states = kept.take();
          meanLogits.push(logits.means(states));
          states.dispose();
          const policy = this.#sums(pairs, values, sharpened);
          scored.push({ number: numbers[k], pairs, policy, reference });
        } finally {
          kept.dispose();
          batch.dispose();
          features?.dispose();
        }
        const counted = countTokens(batch);
        padding += counted.padding;
        tokens += counted.tokens;
      }
      const read = await readBack(meanLogits);
      batches.forEach((pairs, k) => logits.add(pairs, read[k]));
    };
    try {
      await together(compute);
    } finally {
      tf.dispose(meanLogits);
    }
    this.microSteps += count;
    await logits.share(this.ranks);
    const { inputs } = await stepPairs(this.ranks, scored);
    const { loss: wholeLoss, metrics } = dpoLoss(inputs, lossOptions);
    // The ranks add up their losses; that of coupled pairs belongs to all of them.
    const coupledLoss = this.ranks.rank === 0 ? wholeLoss : 0;
    return {
      losses: [tf.scalar(slopes ? coupledLoss : loss)],
      tokens,
      padding,
      metrics: { ...metrics, ...logits.metrics },
      epoch: this.#data.epoch,
      epochEnded,
    };
  }

  /** d loss / d log-prob of every token of every micro-batch, from the values of all of them. */
  async #coupledSlopes(
    batches: readonly (readonly DPOPair[])[],
    numbers: readonly number[],
    parameters: Parameters,
  ): Promise<Float32Array[]> {
    const scored: MicroBatchPairs[] = [];
    for (const [k, pairs] of batches.entries()) {
      const prepared = await this.#prepare(pairs, parameters);
      const { reference } = prepared;
      try {
        const pass = this.microSteps + numbers[k];
        const values = await readLogProbs(this.#policy(prepared, pass));
        const policy = this.#sums(pairs, values, null);
        scored.push({ number: numbers[k], pairs, policy, reference });
      } finally {
        prepared.batch.dispose();
        prepared.features?.dispose();
      }
    }
    const { inputs, firstPair } = await stepPairs(this.ranks, scored);
    const result = dpoLoss(inputs, this.options.loss);
    return batches.map((pairs, k) => this.#spread(pairs, result, firstPair(numbers[k])));
  }

  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    const { evalDataset } = this.parts;
    if (evalDataset === null) return null;
    const all = new PreferenceCounts();
    const outcome = await evaluateSets(evalDataset, (one) => this.#evaluateOne(one, all, signal));
    if (outcome === null) return null;
    this.#counts = all;
    return { ...outcome, samples: chooseAnswers(outcome.samples) };
  }

  /** @param all counts the pairs of every set */
  async #evaluateOne(
    dataset: DPODataset,
    all: PreferenceCounts,
    signal?: AbortSignal,
  ): Promise<SetOutcome | null> {
    const { maker, answerMetrics } = this.parts;
    const started = performance.now();
    const counts = new PreferenceCounts();
    using logits = new AnswerLogits(this.parts.model);
    const samples = new PairSamples(dataset.name);
    const scored: DPOPair[] = [], policies: PairLogProbs[] = [], references: PairLogProbs[] = [];
    const make = maker.make.bind(maker);
    const { evalBatchSize } = this.options;
    for await (const batch of heldOutBatches(dataset, make, evalBatchSize, signal)) {
      const pairs = batch.map(({ made }) => made);
      this.lastBatches = [pairs];
      const { policy, reference } = await this.#score(pairs, logits);
      for (const list of [counts, all, samples]) {
        list.add(batch.map(({ example }) => example), policy, reference);
      }
      scored.push(...pairs.map((pair) => ({ ...pair, images: [] })));
      policies.push(policy);
      if (reference) references.push(reference);
    }
    if (scored.length === 0) return null;
    const inputs = lossInputs(
      scored,
      joinPairs(policies),
      this.parts.reference ? joinPairs(references) : null,
    );
    const { loss, metrics } = dpoLoss(inputs, this.options.loss);
    const named = Object.entries({ ...metrics, ...logits.metrics })
      .map(([name, value]) => [`eval_${name}`, value]);
    return {
      metrics: {
        eval_loss: loss,
        ...Object.fromEntries(named),
        eval_preference_accuracy: counts.accuracy,
        ...evaluationTimes(started, scored.length),
        ...await answerMetrics?.(dataset, signal),
      },
      samples: samples.shown,
      all: samples.all,
      examples: scored.length,
    };
  }

  /** Log-probabilities of pairs under policy and reference, without gradients; counts their logits. */
  async #score(
    pairs: readonly DPOPair[],
    logits: AnswerLogits,
  ): Promise<{ policy: PairLogProbs; reference: PairLogProbs | null }> {
    const { batch, features, reference } = await this.#prepare(pairs, NOTHING_TRAINS);
    const tensors = tf.tidy(() => {
      let means: tf.Tensor1D;
      const observeLabelled = (states: tf.Tensor2D) => {
        means = logits.means(states);
      };
      const { model } = this.parts;
      return [
        model.labelLogProbs(batch, { observeLabelled }, features)!,
        means!,
        ...(this.options.useWeighting ? [model.labelLogProbs(batch, {}, features, 0.5)!] : []),
      ];
    });
    const [values, means, sharpened = null] = await readBack(tensors);
    tf.dispose([...tensors, features ?? []]);
    batch.dispose();
    logits.add(pairs, means);
    return { policy: this.#sums(pairs, values, sharpened), reference };
  }

  /** What the last evaluation counted; null before one. */
  get counts(): PreferenceCounts | null {
    return this.#counts;
  }

  protected sizeOf(pairs: readonly DPOPair[]): BatchSize {
    return sizeOfRows(this.#rows(pairs));
  }

  protected describe(pairs: readonly DPOPair[]): unknown {
    return pairs.map(({ row, chosen, rejected, images }) => ({
      row,
      chosen: Array.from(chosen.inputIds),
      rejected: Array.from(rejected.inputIds),
      tiles: images.map(({ tileCount }) => tileCount),
    }));
  }
}

/** Nothing trains in an evaluation, so that policy and reference can share the image features. */
const NOTHING_TRAINS: Parameters = new Map();
