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
import { readBack } from "../../device/read_back.ts";
import { dpoLoss, type DpoOptions } from "../../losses/dpo.ts";
import { countTokens, type ModelBatch } from "../../model/batch.ts";
import { joinRows } from "../../model/branches.ts";
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import type { PassOptions } from "../../model/vlm.ts";
import { DropoutKeys } from "../../ops/dropout.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import { AnswerLogits } from "./answer_logits.ts";
import { pairSample, PreferenceCounts } from "./evaluation.ts";
import {
  chosenTokens,
  type DPOExampleMaker,
  type DPOPair,
  joinPairs,
  lossInputs,
  packPairs,
  type PairLogProbs,
  spreadPairs,
  sumPairs,
} from "./examples.ts";
import type { DPOReference } from "./reference.ts";
import type { DataCursor, PlacedExample } from "../batches/example_stream.ts";
import type { Parameters } from "../loop/gradients.ts";
import {
  frozenFeatures,
  LabelledStates,
  logProbGradients,
  readLogProbs,
} from "../loop/log_prob_gradients.ts";
import {
  examplesInOrder,
  madeAhead,
  MicroBatches,
  type MicroBatchOptions,
} from "../batches/micro_batches.ts";
import {
  type BatchSize,
  type EvaluationOutcome,
  largestBatch,
  type MethodState,
  sizeOfRows,
  skippedRowsOf,
  StepAborted,
  type StepContext,
  type StepOutcome,
  type TrainingMethod,
} from "../loop/training_method.ts";

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
  /** The loss; `wholeBatch` is the method's to fill in. */
  loss: Omit<DpoOptions, "wholeBatch">;
}

/** How many pairs an evaluation shows in the report. */
const SAMPLES = 8;

/** Pairs that go through the model together, with everything but the policy's gradient. */
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
  /** Of the last step's micro-batches, or of the last evaluation's. */
  #sizes: BatchSize[] = [];
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
    this.#data = new MicroBatches(dataset, (placed) => maker.make(placed), options);
  }

  get stepsPerEpoch(): number | null {
    return this.#data.stepsPerEpoch;
  }

  /** A batch, its image features where they are the same for everyone, and the reference. */
  async #prepare(pairs: readonly DPOPair[], parameters: Parameters): Promise<Prepared> {
    const rows = packPairs(pairs, this.options.sharePrefix, this.model.imageTokenId);
    this.#sizes.push(sizeOfRows(rows));
    const batch = joinRows(rows, this.model.config);
    // An adapted encoder is another one without its adapters.
    const changing = [...parameters.keys(), ...this.model.adapters.keys()];
    const features = frozenFeatures(this.model, batch, changing);
    const reference = await this.reference?.logProbs({ pairs, batch, features }) ?? null;
    return { pairs, batch, features, reference };
  }

  /** The policy's token log-probabilities; the same values each time it is called. */
  #policy(
    { batch, features }: Prepared,
    pass: number,
    observeLabelled?: PassOptions["observeLabelled"],
  ): () => tf.Tensor1D {
    const { disableDropout, seed, gradientCheckpointing } = this.options;
    return () =>
      this.model.labelLogProbs(batch, {
        dropoutKeys: disableDropout ? undefined : new DropoutKeys(seed, pass),
        checkpointing: gradientCheckpointing,
        observeLabelled,
      }, features)!;
  }

  /** The optimal-transport losses sort over a batch, so that each gradient needs all values. */
  get #transports(): boolean {
    return this.options.loss.lossTypes.some((type) => type === "aot" || type === "aot_unpaired");
  }

  async step(
    { accumulator, parameters, signal, lossScale, more }: StepContext,
  ): Promise<StepOutcome> {
    const start = this.#data.cursor;
    const { batches, epochEnded } = await this.#data.next(more);
    this.#lastBatches = batches;
    this.#sizes = [];
    const { loss: lossOptions, lossReduction } = this.options;
    const whole = { pairs: batches.flat().length, chosenTokens: chosenTokens(batches.flat()) };
    const coupled = batches.length > 1 && lossReduction === "token" && this.#transports;
    const slopes = coupled ? await this.#coupledSlopes(batches, parameters) : null;

    const policies: PairLogProbs[] = [], references: PairLogProbs[] = [];
    using logits = new AnswerLogits(this.model);
    const meanLogits: tf.Tensor1D[] = [];
    let tokens = 0, padding = 0, loss = 0;
    try {
      for (const [k, pairs] of batches.entries()) {
        const wholeBatch = lossReduction === "token" ? whole : {
          pairs: pairs.length * batches.length,
          chosenTokens: chosenTokens(pairs) * batches.length,
        };
        await turnEventLoop();
        if (signal?.aborted) {
          this.#data.seek(start);
          throw new StepAborted();
        }
        const prepared = await this.#prepare(pairs, parameters);
        const { batch, features, reference } = prepared;
        const kept = new LabelledStates();
        try {
          const values = await logProbGradients(
            this.#policy(prepared, this.#microSteps + k, kept.observe),
            (values) => {
              if (slopes) return slopes[k];
              const inputs = lossInputs(pairs, sumPairs(pairs, values), reference);
              const result = dpoLoss(inputs, { ...lossOptions, wholeBatch });
              loss += result.loss;
              return spreadPairs(pairs, result.gradChosenLogProbs, result.gradRejectedLogProbs);
            },
            parameters,
            accumulator,
            lossScale,
          );
          const states = kept.take();
          meanLogits.push(logits.means(states));
          states.dispose();
          policies.push(sumPairs(pairs, values));
          if (reference) references.push(reference);
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
    } finally {
      tf.dispose(meanLogits);
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
      metrics: { ...metrics, ...logits.metrics },
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
      try {
        const values = await readLogProbs(this.#policy(prepared, this.#microSteps + k));
        policies.push(sumPairs(pairs, values));
        if (prepared.reference) references.push(prepared.reference);
      } finally {
        prepared.batch.dispose();
        prepared.features?.dispose();
      }
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
    this.#sizes = [];
    const counts = new PreferenceCounts();
    using logits = new AnswerLogits(this.model);
    const samples: EvaluationSample[] = [];
    const scored: DPOPair[] = [], policies: PairLogProbs[] = [], references: PairLogProbs[] = [];
    let queue: { example: PreferenceExample; made: DPOPair }[] = [];
    const flush = async () => {
      signal?.throwIfAborted();
      const pairs = queue.map(({ made }) => made);
      const { policy, reference } = await this.#score(pairs, logits);
      counts.add(queue.map(({ example }) => example), policy, reference);
      queue.slice(0, SAMPLES - samples.length).forEach(({ example }, i) => {
        samples.push(pairSample(example, policy.chosen[i] > policy.rejected[i]));
      });
      scored.push(...pairs.map((pair) => ({ ...pair, images: [] })));
      policies.push(policy);
      if (reference) references.push(reference);
      queue = [];
    };
    const make = (placed: PlacedExample<PreferenceExample>) => this.maker.make(placed);
    const ahead = this.options.evalBatchSize, rows = examplesInOrder(this.evalDataset, true);
    for await (const one of madeAhead(rows, this.evalDataset, make, ahead)) {
      queue.push(one);
      if (queue.length === this.options.evalBatchSize) await flush();
    }
    if (queue.length > 0) await flush();
    if (scored.length === 0) return null;
    this.#counts = counts;
    const inputs = lossInputs(
      scored,
      joinPairs(policies),
      this.reference ? joinPairs(references) : null,
    );
    const { loss, metrics } = dpoLoss(inputs, this.options.loss);
    const seconds = (performance.now() - started) / 1000;
    const named = Object.entries({ ...metrics, ...logits.metrics })
      .map(([name, value]) => [`eval_${name}`, value]);
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

  /** Pairs through policy and reference, nothing trained; their logits are counted. */
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
      return [this.model.labelLogProbs(batch, { observeLabelled }, features)!, means!];
    });
    const [values, means] = await readBack(tensors);
    tf.dispose([...tensors, features ?? []]);
    batch.dispose();
    logits.add(pairs, means);
    return { policy: sumPairs(pairs, values), reference };
  }

  /** What the last evaluation counted; null before one. */
  get counts(): PreferenceCounts | null {
    return this.#counts;
  }

  get lastBatchSize(): BatchSize | null {
    return largestBatch(this.#sizes);
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
    return skippedRowsOf([this.dataset, this.evalDataset]);
  }
}

/** In an evaluation; policy and reference can share the image features. */
const NOTHING_TRAINS: Parameters = new Map();
