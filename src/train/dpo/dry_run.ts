/**
 * `train dpo --dry-run`. The reference's forward pass is part of it where it runs beside the
 * policy's: without adapters, or as the frozen copy that a streamed data set needs. Where its numbers
 * come from a table they stand at 0.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { PreferenceExample } from "../../data/rows/formats.ts";
import { needsNoReference } from "../../losses/dpo_reference_free_losses.ts";
import { datasetFromRows } from "../../data/load_dataset.ts";
import { type DPODataset, DPOMethod } from "./method.ts";
import { AdapterFreeReference, FrozenReference } from "./reference.ts";
import { dpoExampleMaker, dpoGroups, dpoMethodOptions, onlyAdaptersTrain } from "./setup.ts";
import {
  dryRun,
  type DryRunContext,
  type DryRunOptions,
  type LongestBatch,
} from "../dry_run/dry_run.ts";
import type { DryRunReport } from "../dry_run/report.ts";
import { referenceBytes, referenceSync } from "../loop/reference_policy.ts";
import type { ExampleSize } from "../dry_run/example_size.ts";
import { exampleSize } from "../sft/longest_examples.ts";
import { placedExamples, unlessSkipped } from "../../data/placed_examples.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { dryRunKTO } from "../kto/dry_run.ts";
import { ktoLossType } from "../kto/setup.ts";
import { sftExampleMaker } from "../sft/setup.ts";

/** Most pairs that are looked at. */
const MOST_PAIRS = 5000;

/** The pairs that take the most memory, the longest first, found without decoding a picture. */
async function longestPairs(
  dataset: DPODataset,
  prepared: PreparedModel,
  config: ResolvedConfig,
  weight: (size: ExampleSize) => number,
): Promise<{ dataset: Dataset<PreferenceExample>; looked: number }> {
  const { training } = config;
  // Both answers share one prompt, so that the sum of all three counts.
  const maker = sftExampleMaker(prepared, { training: { ...training, max_seq_length: Infinity } });
  let longest: { example: PreferenceExample; bytes: number }[] = [];
  let looked = 0;
  for await (const { example, place } of placedExamples(dataset)) {
    if (looked++ === MOST_PAIRS) break;
    const { images, prompt, chosen, rejected, columns } = example;
    const user = prompt.map(({ content }) => content).join("\n");
    const turns = [{ user, assistant: `${chosen} ${rejected}` }];
    const size = unlessSkipped(
      dataset.skipped,
      place,
      () => exampleSize({ images, turns, columns }, maker, prepared.imageProcessor),
    );
    if (size === null) continue;
    longest.push({ example, bytes: weight(size) });
    longest.sort((a, b) => b.bytes - a.bytes);
    longest = longest.slice(0, training.per_device_train_batch_size);
  }
  if (longest.length === 0) {
    throw new Error(
      `Cannot find the longest pairs: none of ${dataset.name} can be used\n` +
        dataset.skipped.summary(),
    );
  }
  dataset.skipped.judge();
  const rows = longest.map(({ example: { images, prompt, chosen, rejected } }) => ({
    images: images.map(({ bytes, name }) => ({ bytes, path: name })),
    prompt: prompt.map(({ role, content }) => ({ role, content })),
    chosen,
    rejected,
  }));
  const options = { format: "preference", name: dataset.name, maxImagesPerExample: 1e9 } as const;
  return { dataset: await datasetFromRows(rows, options), looked: Math.min(looked, MOST_PAIRS) };
}

async function longest(
  { config, prepared, groups, data, weight }: DryRunContext<"preference">,
): Promise<LongestBatch> {
  const { model } = prepared;
  const { dataset, looked } = await longestPairs(data.train, prepared, config, weight);
  const streaming = data.train.streaming || data.evaluation?.streaming === true;
  const options = dpoMethodOptions(config);
  const maker = dpoExampleMaker(prepared, config);
  const reference = config.dpo.reference_free || needsNoReference(config.dpo.loss_type)
    ? null
    : config.dpo.sync_ref_model
    ? new FrozenReference(model, groups, null, referenceSync(config.dpo))
    : onlyAdaptersTrain(model, groups)
    ? new AdapterFreeReference(model)
    : streaming
    ? new FrozenReference(model, groups)
    : null;
  return {
    method: new DPOMethod({ model, maker, dataset, evalDataset: null, reference }, {
      ...options,
      gradientAccumulationSteps: 1,
      dropLast: false,
      loss: { ...options.loss, referenceFree: reference === null },
    }),
    size: null,
    looked,
    skipped: dataset.skipped.rows.length,
    warnings: [],
    memory: {
      reference: reference instanceof FrozenReference ? referenceBytes(model, groups) : 0,
    },
    dispose: () => reference?.dispose(),
  };
}

/** {@linkcode dryRun} of DPO. */
export async function dryRunDPO(
  config: ResolvedConfig,
  options: DryRunOptions,
): Promise<DryRunReport> {
  if (ktoLossType(config) !== null) return await dryRunKTO(config, options);
  return await dryRun(config, options, {
    format: "preference",
    examples: "pairs",
    groups: dpoGroups,
    longest,
  });
}
