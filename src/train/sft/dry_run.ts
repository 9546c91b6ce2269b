/**
 * `train sft --dry-run`.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import {
  dryRun,
  type DryRunContext,
  type DryRunOptions,
  type LongestBatch,
} from "../dry_run/dry_run.ts";
import type { DryRunReport } from "../dry_run/report.ts";
import { longestExamples } from "./longest_examples.ts";
import { sftExampleMaker, sftGroups, sftMethod } from "./setup.ts";

async function longest(
  { config, prepared, data, weight }: DryRunContext<"vqa">,
): Promise<LongestBatch> {
  const { training } = config;
  const { dataset, looked } = await longestExamples(data.train, {
    maker: sftExampleMaker(prepared, config),
    processor: prepared.imageProcessor,
    count: training.per_device_train_batch_size,
    sharePrefix: training.share_prefix,
    weight,
  });
  const oneBatch = {
    ...training,
    gradient_accumulation_steps: 1,
    dataloader_drop_last: false,
    dataloader_num_workers: 0,
  };
  return {
    method: sftMethod(
      { training: oneBatch, sft: config.sft },
      { prepared, train: dataset, evaluation: null },
    ),
    size: null,
    looked,
    skipped: 0,
    warnings: [],
  };
}

/** {@linkcode dryRun} of SFT. */
export async function dryRunSFT(
  config: ResolvedConfig,
  options: DryRunOptions,
): Promise<DryRunReport> {
  return await dryRun(config, options, {
    format: "vqa",
    examples: "examples",
    groups: sftGroups,
    longest,
  });
}
