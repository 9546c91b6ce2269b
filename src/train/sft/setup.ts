/**
 * SFT's method and parameter groups out of a config, a model and data.
 *
 * @module
 */
import type { DatasetSection, ResolvedConfig } from "../../config/types/config_types.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import { augments } from "../../image/augment/plan.ts";
import type { LossTokens } from "../../text/chat_example.ts";
import { exampleParts } from "../batches/example_parts.ts";
import { methodOptions } from "../loop/base_method.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { configuredGroups } from "../optimizer/parameter_groups.ts";
import { answerMetrics } from "../run/answer_metrics.ts";
import { SFTExampleMaker, type SFTExampleOptions } from "./examples.ts";
import { type AnswerSamples, type SFTDataset, SFTMethod } from "./method.ts";

/** What SFT's method is made of. */
export interface SFTInputs {
  readonly prepared: LoadedModel;
  readonly train: SFTDataset;
  /** Held out; null: no evaluation. */
  readonly evaluation: SFTDataset | null;
  /** Asks the model a few questions after an evaluation. */
  readonly answerSamples?: AnswerSamples | null;
}

/** The keys of a config that SFT reads. */
type SFTConfig =
  & Pick<ResolvedConfig, "training" | "sft">
  & Partial<Pick<ResolvedConfig, "dataset">>;

/** Turns rows into examples that fit a model; without the section `sft`, answers are labelled. */
export function sftExampleMaker(
  prepared: LoadedModel,
  { training, dataset, sft }: Omit<SFTConfig, "sft"> & Partial<Pick<SFTConfig, "sft">>,
): SFTExampleMaker {
  return new SFTExampleMaker(
    exampleParts(prepared, training.dataloader_num_workers, lossTokens(sft)),
    training.max_seq_length ?? prepared.model.config.lm_max_length,
    dataset === undefined ? {} : exampleOptions(dataset, training.seed),
  );
}

/** Which tokens the loss counts. */
function lossTokens(sft: SFTConfig["sft"] | undefined): LossTokens {
  if (sft?.train_on_prompt) return "all";
  return sft?.last_turn_only ? "last_answer" : "answers";
}

function exampleOptions(
  { augmentation, weight_column }: DatasetSection,
  seed: number,
): SFTExampleOptions {
  const { jpeg_quality: jpegQuality, ...shares } = augmentation;
  const changes = { ...shares, jpegQuality };
  return {
    augmentation: augments(changes) ? { ...changes, seed } : null,
    weightColumn: weight_column,
  };
}

/** SFT's method. */
export function sftMethod(config: SFTConfig, inputs: SFTInputs): SFTMethod {
  const { prepared, train, evaluation, answerSamples } = inputs;
  return new SFTMethod({
    model: prepared.model,
    maker: sftExampleMaker(prepared, config),
    dataset: train,
    evalDataset: evaluation,
    answerSamples,
    answerMetrics: answerMetrics(prepared, evaluation, config.training),
  }, {
    ...methodOptions(config.training),
    lossType: config.sft.loss_type,
  });
}

/** What trains under SFT, and how fast. */
export function sftGroups({ model }: LoadedModel, { training }: SFTConfig): ParameterGroup[] {
  return configuredGroups(model, training);
}
