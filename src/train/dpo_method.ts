/**
 * Direct preference optimization (Rafailov et al., 2023, arXiv 2305.18290) and its relatives: a
 * loss of the log-probabilities of whole answers, under the policy and under a reference.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import type { Dataset } from "../data/dataset.ts";
import type { PreferenceExample } from "../data/formats.ts";
import type { StreamingDataset } from "../data/streaming_dataset.ts";
import { dpoLoss, type DpoOptions } from "../losses/dpo.ts";
import type { ModelBatch } from "../model/batch.ts";
import type { VisionLanguageModel } from "../model/vision_language_model.ts";
import { DropoutKeys } from "../ops/dropout.ts";
import type { EvaluationSample } from "../report/evaluation_sample.ts";
import { pairSample, PreferenceCounts } from "./dpo_evaluation.ts";
import {
  type DPOExampleMaker,
  type DPOPair,
  pairBatch,
  type PairLogProbs,
  spreadPairs,
  sumPairs,
} from "./dpo_examples.ts";
import { chosenTokens, joinPairs, lossInputs } from "./dpo_loss_inputs.ts";
import type { DPOReference } from "./dpo_reference.ts";
import type { DataCursor, PlacedExample } from "./example_stream.ts";
import type { Parameters } from "./gradients.ts";
import { longestFirst, paddingOf } from "./like_lengths.ts";
import { logProbGradients, readLogProbs } from "./log_prob_gradients.ts";
import {
  examplesInOrder,
  madeAhead,
  MicroBatches,
  type MicroBatchOptions,
} from "./micro_batches.ts";
import {
  type EvaluationOutcome,
  type MethodState,
  StepAborted,
  type StepContext,
  type StepOutcome,
  type TrainingMethod,
} from "./training_method.ts";

/** Pairs for DPO, at random or in a stream. */
export type DPODataset = Dataset<PreferenceExample> | StreamingDataset<PreferenceExample>;

/** How DPO batches and averages. */
export interface DPOMethodOptions extends MicroBatchOptions {
  evalBatchSize: number;
  /**
   * `token`: normalisers of the whole optimizer step; `micro_batch`: the mean of the micro-batches'
   * losses (NanoVLM-Lab).
   */
  lossReduction: "token" | "micro_batch";
  /** Compute a pair's prompt and images once. */
  sharePrefix: boolean;
  gradientCheckpointing: boolean;
  disableDropout: boolean;
  padTokenId: number;
  /** The loss; `wholeBatch` is the method's to fill in. */
  loss: Omit<DpoOptions, "wholeBatch">;
}

/** How many pairs an evaluation shows in the report. */
const SAMPLES = 8;

/** A micro-batch with everything but the policy's gradient. */
interface Prepared {
  readonly pairs: readonly DPOPair[];
  readonly batch: ModelBatch;
  readonly features: tf.Tensor3D | undefined;
  readonly reference: PairLogProbs | null;
}

/** DPO on one data set. */
export class DPOMethod implements TrainingMethod {
  readonly name = "dpo";
  readonly #data: MicroBatches<PreferenceExample, DPOPair>;
  #epoch = 0;
  #microSteps = 0;
  #lastBatchSize = { rows: 0, tokens: 0, tiles: 0 };
  #counts: PreferenceCounts | null = null;
  #lastBatches: readonly (readonly DPOPair[])[] = [];

  /**
   * @param model what trains
   * @param maker rows → pairs
   * @param dataset to train on
   * @param evalDataset held out; null: no evaluation
   * @param reference of the loss; null: reference-free
   * @param options batches, averages and the loss
   */
  constructor(
    readonly model: VisionLanguageModel,
    readonly maker: DPOExampleMaker,
    readonly dataset: DPODataset,
    readonly evalDataset: DPODataset | null,
    readonly reference: DPOReference | null,
    readonly options: DPOMethodOptions,
  ) {
    // A mean of the micro-batches' losses depends on which pairs meet in one.
    const { lossReduction, gradientAccumulationSteps } = options;
    const sorts = lossReduction === "token" && gradientAccumulationSteps > 1;
    const tokensOf = ({ chosen, rejectedLength }: DPOPair) =>
      chosen.inputIds.length + rejectedLength;
    this.#data = new MicroBatches(
      dataset,
      (placed) => maker.make(placed),
      options,
      sorts ? (pairs) => longestFirst(pairs, tokensOf) : null,
    );
  }

  get stepsPerEpoch(): number | null {
    return this.#data.stepsPerEpoch;
  }

  /** A batch, its image features where they are the same for everyone, and the reference. */
  async #prepare(pairs: readonly DPOPair[], parameters: Parameters): Promise<Prepared> {
    const { sharePrefix, padTokenId } = this.options;
    const batch = pairBatch(pairs, sharePrefix, padTokenId, this.model);
    const { images } = batch;
    const tiles = images?.shape[0] ?? 0;
    this.#lastBatchSize = { rows: batch.batchSize, tokens: batch.tokens, tiles };
    // An adapted encoder is another one without its adapters.
    const differs = [...parameters.keys(), ...this.model.adapters.keys()]
      .some((name) => name.includes("vision_encoder."));
    const features = images === null || differs
      ? undefined
      : tf.tidy(() => this.model.imageFeatures(images));
    const reference = await this.reference?.logProbs({ pairs, batch, features }) ?? null;
    return { pairs, batch, features, reference };
  }

  /** The policy's token log-probabilities; the same values each time it is called. */
  #policy({ batch, features }: Prepared, microStep: number): () => tf.Tensor1D {
    const { disableDropout, seed, gradientCheckpointing } = this.options;
    return () =>
      this.model.labelLogProbs(batch, {
        dropoutKeys: disableDropout ? undefined : new DropoutKeys(seed, microStep),
        checkpointing: gradientCheckpointing,
      }, features)!;
  }

  async step(
    { accumulator, parameters, signal, lossScale, more }: StepContext,
  ): Promise<StepOutcome> {
    const start = this.#data.cursor;
    const { batches, epochEnded } = await this.#data.next(more);
    this.#lastBatches = batches;
    const { loss: lossOptions, lossReduction } = this.options;
    const whole = { pairs: batches.flat().length, chosenTokens: chosenTokens(batches.flat()) };
    // The optimal-transport losses sort over the batch, so that each gradient needs all values.
    const coupled = batches.length > 1 && lossReduction === "token" &&
      lossOptions.lossTypes.some((type) => type === "aot" || type === "aot_unpaired");
    const slopes = coupled ? await this.#coupledSlopes(batches, parameters) : null;

    const policies: PairLogProbs[] = [], references: PairLogProbs[] = [];
    let tokens = 0, padding = 0, loss = 0;
    for (const [k, pairs] of batches.entries()) {
      if (signal?.aborted) {
        this.#data.seek(start);
        throw new StepAborted();
      }
      const prepared = await this.#prepare(pairs, parameters);
      const { batch, features, reference } = prepared;
      const wholeBatch = lossReduction === "token" ? whole : {
        pairs: pairs.length * batches.length,
        chosenTokens: chosenTokens(pairs) * batches.length,
      };
      const { values, gradients } = await logProbGradients(
        this.#policy(prepared, this.#microSteps + k),
        (values) => {
          if (slopes) return slopes[k];
          const inputs = lossInputs(pairs, sumPairs(pairs, values), reference);
          const result = dpoLoss(inputs, { ...lossOptions, wholeBatch });
          loss += result.loss;
          return spreadPairs(pairs, result.gradChosenLogProbs, result.gradRejectedLogProbs);
        },
        parameters,
        lossScale,
      );
      accumulator.add(gradients);
      policies.push(sumPairs(pairs, values));
      if (reference) references.push(reference);
      const padded = paddingOf(batch);
      padding += padded;
      tokens += batch.tokens * batch.batchSize - padded;
      batch.dispose();
      features?.dispose();
    }
    this.#microSteps += batches.length;
    this.#epoch = this.#data.epoch;
    const inputs = lossInputs(
      batches.flat(),
      joinPairs(policies),
      this.reference ? joinPairs(references) : null,
    );
    const { loss: wholeLoss, metrics } = dpoLoss(inputs, lossOptions);
    return {
      losses: [tf.scalar(slopes ? wholeLoss : loss)],
      tokens,
      padding,
      metrics,
      epoch: this.#epoch,
      epochEnded,
    };
  }

  /** d loss / d log-prob of every token of every micro-batch, from the values of all of them. */
  async #coupledSlopes(
    batches: readonly (readonly DPOPair[])[],
    parameters: Parameters,
  ): Promise<Float32Array[]> {
    const policies: PairLogProbs[] = [], references: PairLogProbs[] = [];
    for (const [k, pairs] of batches.entries()) {
      const prepared = await this.#prepare(pairs, parameters);
      const values = await readLogProbs(this.#policy(prepared, this.#microSteps + k));
      policies.push(sumPairs(pairs, values));
      if (prepared.reference) references.push(prepared.reference);
      prepared.batch.dispose();
      prepared.features?.dispose();
    }
    const inputs = lossInputs(
      batches.flat(),
      joinPairs(policies),
      this.reference ? joinPairs(references) : null,
    );
    const result = dpoLoss(inputs, this.options.loss);
    let at = 0;
    return batches.map((pairs) => {
      const from = at;
      at += pairs.length;
      return spreadPairs(
        pairs,
        result.gradChosenLogProbs.subarray(from, at),
        result.gradRejectedLogProbs.subarray(from, at),
      );
    });
  }

  async evaluate(signal?: AbortSignal): Promise<EvaluationOutcome | null> {
    if (this.evalDataset === null) return null;
    const started = performance.now();
    const counts = new PreferenceCounts();
    const samples: EvaluationSample[] = [];
    const scored: DPOPair[] = [], policies: PairLogProbs[] = [], references: PairLogProbs[] = [];
    let pairs: DPOPair[] = [], examples: PreferenceExample[] = [];
    const flush = async () => {
      signal?.throwIfAborted();
      const prepared = await this.#prepare(pairs, NOTHING_TRAINS);
      const { batch, features, reference } = prepared;
      const values = await readLogProbs(() => this.model.labelLogProbs(batch, {}, features)!);
      batch.dispose();
      features?.dispose();
      const policy = sumPairs(pairs, values);
      counts.add(examples, policy, reference);
      examples.slice(0, SAMPLES - samples.length).forEach((example, i) => {
        samples.push(pairSample(example, policy.chosen[i] > policy.rejected[i]));
      });
      scored.push(...pairs.map((pair) => ({ ...pair, images: [] })));
      policies.push(policy);
      if (reference) references.push(reference);
      pairs = [];
      examples = [];
    };
    const make = (placed: PlacedExample<PreferenceExample>) => this.maker.make(placed);
    const ahead = this.options.evalBatchSize, rows = examplesInOrder(this.evalDataset, true);
    for await (const { example, made } of madeAhead(rows, this.evalDataset, make, ahead)) {
      pairs.push(made);
      examples.push(example);
      if (pairs.length === this.options.evalBatchSize) await flush();
    }
    if (pairs.length > 0) await flush();
    if (scored.length === 0) return null;
    this.#counts = counts;
    const inputs = lossInputs(
      scored,
      joinPairs(policies),
      this.reference ? joinPairs(references) : null,
    );
    const { loss, metrics } = dpoLoss(inputs, this.options.loss);
    const seconds = (performance.now() - started) / 1000;
    const named = Object.entries(metrics).map(([name, value]) => [`eval_${name}`, value]);
    return {
      metrics: {
        eval_loss: loss,
        ...Object.fromEntries(named),
        eval_preference_accuracy: counts.accuracy,
        eval_runtime: seconds,
        eval_samples_per_second: scored.length / seconds,
      },
      samples,
    };
  }

  /** What the last evaluation counted; null before one. */
  get counts(): PreferenceCounts | null {
    return this.#counts;
  }

  /** Rows, tokens of the longest row, and tiles of the last micro-batch. */
  get lastBatchSize(): { rows: number; tokens: number; tiles: number } {
    return this.#lastBatchSize;
  }

  describeLastBatch(): unknown {
    return this.#lastBatches.map((batch) =>
      batch.map(({ row, chosen, rejected, images }) => ({
        row,
        chosen: Array.from(chosen.inputIds),
        rejected: Array.from(rejected.inputIds),
        tiles: images.map(({ tileCount }) => tileCount),
      }))
    );
  }

  state(): MethodState {
    return { cursor: this.#data.cursor, microSteps: this.#microSteps };
  }

  restore(state: MethodState): void {
    const { cursor, microSteps } = state as { cursor: DataCursor; microSteps: number };
    this.#data.seek(cursor);
    this.#epoch = this.#data.epoch;
    this.#microSteps = microSteps;
  }

  async release(): Promise<void> {
    await Promise.all([this.#data.release(), this.maker.tiles.release()]);
  }

  skippedRows(): { rows: readonly { place: string; reason: string }[]; total: number } {
    const { rows, total } = this.dataset.skipped;
    return { rows, total };
  }
}

/** In an evaluation; policy and reference can share the image features. */
const NOTHING_TRAINS: Parameters = new Map();
