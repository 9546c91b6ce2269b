/**
 * SFT's method and parameter groups out of a model, data and the section `training`.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import { ChatExampleBuilder } from "../../text/chat_example.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { configuredGroups } from "../optimizer/parameter_groups.ts";
import type { PreparedModel } from "../run/prepare_model.ts";
import { SFTExampleMaker } from "./examples.ts";
import { type AnswerSamples, type SFTDataset, SFTMethod } from "./method.ts";
import { TileCache } from "../batches/tile_cache.ts";

/** What SFT needs of a prepared model. */
export type SFTModel = Pick<PreparedModel, "model" | "tokenizer" | "imageProcessor">;

/** Rows to examples, as a model takes them. */
export function sftExampleMaker(prepared: SFTModel, training: TrainingSection): SFTExampleMaker {
  const { model, tokenizer, imageProcessor } = prepared;
  return new SFTExampleMaker(
    new ChatExampleBuilder(tokenizer, { mpImageTokenLength: model.config.mp_image_token_length }),
    new TileCache(imageProcessor, { workers: training.dataloader_num_workers }),
    training.max_seq_length ?? model.config.lm_max_length,
    model.imageTokenId,
  );
}

/**
 * SFT's method.
 *
 * @param train to train on
 * @param evaluation held out; null: no evaluation
 * @param answerSamples asks the model a few questions after an evaluation
 */
export function sftMethod(
  prepared: SFTModel,
  training: TrainingSection,
  train: SFTDataset,
  evaluation: SFTDataset | null,
  answerSamples: AnswerSamples | null = null,
): SFTMethod {
  const { model } = prepared;
  return new SFTMethod(model, sftExampleMaker(prepared, training), train, evaluation, {
    batchSize: training.per_device_train_batch_size,
    evalBatchSize: training.per_device_eval_batch_size,
    gradientAccumulationSteps: training.gradient_accumulation_steps,
    lossReduction: training.loss_reduction,
    sharePrefix: training.share_prefix,
    gradientCheckpointing: training.gradient_checkpointing,
    dropLast: training.dataloader_drop_last,
    groupByLength: training.group_by_length,
    seed: training.seed,
  }, answerSamples);
}

/** What trains under SFT, and how fast. */
export function sftGroups(prepared: SFTModel, training: TrainingSection): ParameterGroup[] {
  return configuredGroups(prepared.model, training);
}
