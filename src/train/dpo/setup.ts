/**
 * DPO's method, parameter groups and reference out of a config, a model and data.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { PreferenceExample } from "../../data/rows/formats.ts";
import { currentRanks, onRankZero } from "../../distributed/ranks.ts";
import { dpoLoss, type DPOLossOptions } from "../../losses/dpo.ts";
import { isKTOLoss } from "../../losses/kto.ts";
import { needsNoReference } from "../../losses/dpo_reference_free_losses.ts";
import { type LoadedModel, loadModel } from "../../generate/load_model.ts";
import type { FactGroup } from "../../report/page/report_contents.ts";
import { answerMetrics } from "../run/answer_metrics.ts";
import { DPOExampleMaker, type DPOPair, pairBatch, sumPairs } from "./examples.ts";
import { type DPODataset, DPOMethod, type DPOMethodOptions } from "./method.ts";
import {
  AdapterFreeReference,
  type DPOReference,
  FrozenReference,
  type ReferenceTable,
  TableReference,
} from "./reference.ts";
import { fillReferenceTable, referenceFingerprint } from "./reference_table.ts";
import { ExampleStream, type PlacedExample } from "../batches/example_stream.ts";
import { readLogProbs } from "../loop/log_prob_gradients.ts";
import { exampleParts } from "../batches/example_parts.ts";
import { examplesInOrder, madeAhead } from "../batches/made_ahead.ts";
import { lengthBatch, microBatchOptions } from "../batches/micro_batches.ts";
import { methodOptions } from "../loop/base_method.ts";
import { referenceSync } from "../loop/reference_policy.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { configuredGroups, splitByDecay } from "../optimizer/parameter_groups.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { trainingPrecision } from "../loop/training_precision.ts";

/** Turns rows into pairs that fit a model. */
export function dpoExampleMaker(
  prepared: LoadedModel,
  { training }: ResolvedConfig,
): DPOExampleMaker {
  return new DPOExampleMaker(
    exampleParts(prepared, training.dataloader_num_workers),
    training.max_seq_length ?? prepared.model.config.lm_max_length,
  );
}

/**
 * The loss that the section `dpo` asks for.
 *
 * @throws {RangeError} if a setting is outside what its loss can use
 */
export function dpoLossOptions({ dpo }: ResolvedConfig): DPOLossOptions {
  const options: DPOLossOptions = {
    lossTypes: dpo.loss_type.filter((type) => !isKTOLoss(type)),
    lossWeights: dpo.loss_weights,
    beta: dpo.beta,
    labelSmoothing: dpo.label_smoothing,
    referenceFree: dpo.reference_free || needsNoReference(dpo.loss_type),
    fDivergence: dpo.f_divergence_type,
    alphaDivergenceCoefficient: dpo.f_alpha_divergence_coef,
    discopopTau: dpo.discopop_tau,
    cpoAlpha: dpo.cpo_alpha,
    simpoGamma: dpo.simpo_gamma,
    alpha: dpo.alpha,
  };
  const one = [-1], length = [1];
  // Report a setting that the loss cannot use now, not after the data has been read.
  dpoLoss({
    chosenLogProbs: one,
    rejectedLogProbs: one,
    refChosenLogProbs: one,
    refRejectedLogProbs: one,
    chosenLengths: length,
    rejectedLengths: length,
  }, options);
  return options;
}

/** How DPO batches and averages, and its loss, by a config. */
export function dpoMethodOptions(config: ResolvedConfig): DPOMethodOptions {
  return {
    ...methodOptions(config.training),
    disableDropout: config.dpo.disable_dropout,
    loss: dpoLossOptions(config),
    ldAlpha: config.dpo.ld_alpha,
    useWeighting: config.dpo.use_weighting,
  };
}

/** What DPO's method is made of. */
export interface DPOInputs {
  readonly prepared: LoadedModel;
  readonly maker: DPOExampleMaker;
  readonly train: DPODataset;
  /** Held out; null: no evaluation. */
  readonly evaluation: DPODataset | null;
  /** Of {@linkcode makeReference}. */
  readonly reference: DPOReference | null;
}

/** DPO's method. */
export function dpoMethod(
  config: ResolvedConfig,
  { prepared, maker, train, evaluation, reference }: DPOInputs,
): DPOMethod {
  return new DPOMethod({
    model: prepared.model,
    maker,
    dataset: train,
    evalDataset: evaluation,
    reference,
    answerMetrics: answerMetrics(prepared, evaluation, config.training),
  }, dpoMethodOptions(config));
}

/** For the report. */
export function dpoFacts({ dpo }: ResolvedConfig, reference: DPOReference | null): FactGroup {
  return {
    title: "DPO",
    facts: [
      ["loss", dpo.loss_type.join(" + ")],
      ["beta", dpo.beta],
      ["reference", reference?.description ?? "none"],
    ],
  };
}

/** What trains under DPO, and how fast; biases and norms do not decay. */
export function dpoGroups({ model }: LoadedModel, { training }: ResolvedConfig): ParameterGroup[] {
  return splitByDecay(configuredGroups(model, training));
}

/** Whether the model without its adapters stays what it was before training. */
export function onlyAdaptersTrain(
  model: PreparedModel["model"],
  groups: readonly ParameterGroup[],
): boolean {
  const own = new Set(model.weights.values());
  return groups.every(({ parameters }) =>
    [...parameters.values()].every((variable) => !own.has(variable))
  );
}

/** Everything that a reference is made from. */
export interface ReferenceOptions {
  readonly config: ResolvedConfig;
  readonly prepared: LoadedModel;
  readonly groups: readonly ParameterGroup[];
  readonly maker: DPOExampleMaker;
  readonly train: DPODataset;
  readonly evaluation: DPODataset | null;
  readonly signal?: AbortSignal;
  /** Called while a table is filled. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * The reference that a config asks for; called with the model as it is before training, and before
 * a checkpoint is read.
 *
 * - With `sync_ref_model`, a copy of what trains that follows it.
 * - If nothing but adapters trains, the model without them: no memory, no preparation.
 * - A streamed data set has no rows to keep numbers of: a frozen copy of what trains.
 * - Else a table, filled now and kept in `reference/` of the output folder.
 *
 * @returns null if `dpo.reference_free` is set or no loss needs a reference
 */
export async function makeReference(options: ReferenceOptions): Promise<DPOReference | null> {
  const { config: { dpo }, prepared: { model }, groups, train, evaluation } = options;
  if (dpo.reference_free || needsNoReference(dpo.loss_type)) return null;
  const sync = referenceSync(dpo);
  if (sync !== null) return new FrozenReference(model, groups, dpo.ld_alpha, sync);
  const streaming = train.streaming || evaluation?.streaming === true;
  const other = dpo.ref_model_name_or_path;
  if (streaming && (other !== null || dpo.precompute_ref_log_probs)) {
    throw new Error(
      `Cannot keep the reference's log-probabilities of ${train.name}: a streamed data set has no ` +
        "row numbers; set dataset.streaming to false, or leave out dpo.precompute_ref_log_probs " +
        "and dpo.ref_model_name_or_path",
    );
  }
  if (onlyAdaptersTrain(model, groups) && other === null && !dpo.precompute_ref_log_probs) {
    return new AdapterFreeReference(model, dpo.ld_alpha);
  }
  if (train.streaming || evaluation?.streaming) {
    return new FrozenReference(model, groups, dpo.ld_alpha);
  }
  if (other === null) return await tableReference(options, model, train, evaluation);
  const reference = (await loadModel(other, { keepPacked: () => true })).model;
  try {
    return await tableReference(options, reference, train, evaluation);
  } finally {
    reference.dispose();
  }
}

async function tableReference(
  options: ReferenceOptions,
  model: PreparedModel["model"],
  train: Dataset<PreferenceExample>,
  evaluation: Dataset<PreferenceExample> | null,
): Promise<TableReference> {
  const { config, prepared, maker, signal, onProgress } = options;
  const { training, dpo } = config;
  const { tokenizer } = prepared;
  const precision = trainingPrecision(training);
  model.precision = precision;
  const make = (placed: PlacedExample<PreferenceExample>) => maker.make(placed);
  const stepPairs = training.per_device_train_batch_size * training.gradient_accumulation_steps;
  const needed = training.max_steps > 0 ? training.max_steps * stepPairs : Infinity;
  const trainPairs = Math.min(needed, train.length);
  const total = trainPairs + (evaluation?.length ?? 0);
  let before = 0;
  const fill = async (
    name: string,
    dataset: Dataset<PreferenceExample>,
    pairs: AsyncIterable<DPOPair>,
  ): Promise<ReferenceTable> =>
    await fillReferenceTable({
      path: `${training.output_dir}/reference/${name}.json`,
      fingerprint: await referenceFingerprint(model, tokenizer, {
        data: dataset.fingerprint,
        maxLength: maker.maxLength,
        ...(precision === "float32" ? {} : { precision }),
        ...(dpo.ld_alpha === null ? {} : { ldAlpha: dpo.ld_alpha }),
      }),
      pairs,
      batchSize: training.per_device_eval_batch_size,
      logProbs: async (pairs) => {
        const batch = pairBatch(pairs, training.share_prefix, model);
        const values = await readLogProbs(() =>
          model.labelLogProbs(batch, { withoutAdapters: true })!
        );
        batch.dispose();
        return sumPairs(pairs, values, dpo.ld_alpha);
      },
      signal,
      onProgress: (done) => onProgress?.(before + done, total),
    });

  const ahead = training.per_device_eval_batch_size;
  async function* firstEpoch(): AsyncGenerator<PlacedExample<PreferenceExample>> {
    const stream = new ExampleStream(
      train,
      training.seed,
      lengthBatch(microBatchOptions(training)),
    );
    for (let row = await stream.next(); row !== null; row = await stream.next()) yield row;
  }
  async function* used(): AsyncGenerator<DPOPair> {
    // In the order of training: a short run does not need every row.
    let count = 0;
    for await (const { made } of madeAhead(firstEpoch(), train, make, ahead)) {
      yield made;
      if (++count >= needed) return;
    }
  }
  async function* heldOut(dataset: Dataset<PreferenceExample>): AsyncGenerator<DPOPair> {
    const rows = examplesInOrder(dataset, true);
    for await (const { made } of madeAhead(rows, dataset, make, ahead)) yield made;
  }
  // Of several ranks, the first computes it and tells the others.
  const rows = await onRankZero(currentRanks(), "the reference's log-probabilities", async () => {
    const table = new Map(await fill("train", train, used()));
    before = table.size;
    if (evaluation !== null) {
      for (const [row, values] of await fill("eval", evaluation, heldOut(evaluation))) {
        table.set(row, values);
      }
    }
    return [...table];
  });
  const table = new Map(rows);
  const name = dpo.ref_model_name_or_path ?? "the model before training";
  return new TableReference(table, `${name}, log-probabilities kept on disk`);
}
