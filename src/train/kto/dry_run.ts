/**
 * `train dpo --dry-run` with a loss of unpaired answers: the longest answers once, under policy and
 * reference, and under each other's prompts.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import { datasetFromRows } from "../../data/load_dataset.ts";
import { placedExamples, unlessSkipped } from "../../data/placed_examples.ts";
import type { UnpairedExample } from "../../data/rows/formats.ts";
import { dryRun, type DryRunContext, type DryRunOptions } from "../dry_run/dry_run.ts";
import type { LongestBatch } from "../dry_run/dry_run.ts";
import type { DryRunReport } from "../dry_run/report.ts";
import { referenceBytes } from "../loop/reference_policy.ts";
import { configuredGroups, splitByDecay } from "../optimizer/parameter_groups.ts";
import { exampleSize } from "../sft/longest_examples.ts";
import { sftExampleMaker } from "../sft/setup.ts";
import { ktoMethod } from "./setup.ts";

/** Most answers that are looked at. */
const MOST_ANSWERS = 5000;

async function longest(
  { config, prepared, groups, data, weight }: DryRunContext<"unpaired">,
): Promise<LongestBatch> {
  const { training } = config;
  const { train } = data;
  const sizes = sftExampleMaker(prepared, { training: { ...training, max_seq_length: Infinity } });
  let found: { example: UnpairedExample; bytes: number }[] = [];
  let looked = 0;
  for await (const { example, place } of placedExamples(train)) {
    if (looked++ === MOST_ANSWERS) break;
    const { images, prompt, completion, columns } = example;
    const turns = [{
      user: prompt.map(({ content }) => content).join("\n"),
      assistant: completion,
    }];
    const size = unlessSkipped(
      train.skipped,
      place,
      () => exampleSize({ images, turns, columns }, sizes, prepared.imageProcessor),
    );
    if (size === null) continue;
    found.push({ example, bytes: weight(size) });
    found.sort((a, b) => b.bytes - a.bytes);
    found = found.slice(0, training.per_device_train_batch_size);
  }
  if (found.length === 0) {
    throw new Error(
      `Cannot find the longest answers: none of ${train.name} can be used\n` +
        train.skipped.summary(),
    );
  }
  train.skipped.judge();
  const rows = found.map(({ example: { images, prompt, completion, desirable } }) => ({
    images: images.map(({ bytes, name }) => ({ bytes, path: name })),
    prompt: prompt.map(({ role, content }) => ({ role, content })),
    completion,
    label: desirable,
  }));
  const options = { format: "unpaired", name: train.name, maxImagesPerExample: 1e9 } as const;
  const dataset = await datasetFromRows(rows, options);
  const oneBatch: ResolvedConfig = {
    ...config,
    training: {
      ...training,
      gradient_accumulation_steps: 1,
      dataloader_drop_last: false,
      dataloader_num_workers: 0,
    },
  };
  const { method, dispose } = ktoMethod(oneBatch, {
    prepared,
    train: dataset,
    evaluation: null,
    groups,
  });
  return {
    method,
    size: null,
    looked: Math.min(looked, MOST_ANSWERS),
    skipped: dataset.skipped.rows.length,
    warnings: [],
    memory: { reference: referenceBytes(prepared.model, groups) },
    dispose,
  };
}

/** {@linkcode dryRun} of KTO. */
export async function dryRunKTO(
  config: ResolvedConfig,
  options: DryRunOptions,
): Promise<DryRunReport> {
  return await dryRun(config, options, {
    format: "unpaired",
    examples: "answers",
    groups: ({ model }, { training }) => splitByDecay(configuredGroups(model, training)),
    longest,
  });
}
