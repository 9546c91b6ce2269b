/**
 * `train sft`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../config/config_types.ts";
import { ChatExampleBuilder } from "../text/chat_example.ts";
import { parameterGroups } from "./parameter_groups.ts";
import { prepareData } from "./prepare_data.ts";
import type { PreparedModel } from "./prepare_model.ts";
import { type RunOptions, type RunSetup, runTraining } from "./run.ts";
import { answerSamples, exactMatchTable, hasShortAnswers } from "./sft_closing.ts";
import { SFTExampleMaker } from "./sft_examples.ts";
import { SFTMethod } from "./sft_method.ts";
import { TileCache } from "./tile_cache.ts";
import type { TrainResult } from "./trainer.ts";

/** SFT's method, groups and closing words for a config. */
async function setUpSFT(config: ResolvedConfig, prepared: PreparedModel): Promise<RunSetup> {
  const { training, dataset } = config;
  const { model, tokenizer, imageProcessor } = prepared;
  const data = await prepareData(config, "vqa");
  const { train } = data;
  const maker = new SFTExampleMaker(
    new ChatExampleBuilder(tokenizer, { mpImageTokenLength: model.config.mp_image_token_length }),
    new TileCache(imageProcessor),
    training.max_seq_length ?? model.config.lm_max_length,
    model.imageTokenId,
  );
  const heldOut = data.evaluation?.streaming === false ? data.evaluation : null;
  const samples = heldOut && (() => answerSamples(prepared, heldOut));
  const method = new SFTMethod(model, maker, train, data.evaluation, {
    batchSize: training.per_device_train_batch_size,
    evalBatchSize: training.per_device_eval_batch_size,
    gradientAccumulationSteps: training.gradient_accumulation_steps,
    lossReduction: training.loss_reduction,
    sharePrefix: training.share_prefix,
    gradientCheckpointing: training.gradient_checkpointing,
    dropLast: training.dataloader_drop_last,
    padTokenId: tokenizer.padTokenId,
    seed: training.seed,
  }, samples);
  const groups = parameterGroups(model, {
    modalityProjector: training.lr_mp,
    visionEncoder: training.lr_vision_backbone,
    languageBackbone: training.lr_language_backbone,
    lora: training.lr_lora,
  }, training.weight_decay);
  return {
    method,
    groups,
    title: `SFT on ${dataset.train_data_path}`,
    facts: [{
      title: "Data",
      facts: [
        ["training", `${dataset.train_data_path} (${dataset.train_split})`],
        ["examples", train.length ?? "not known (streamed)"],
        ["held out", data.evaluation?.length ?? "none"],
      ],
    }],
    async closing() {
      const saved = config.save.save_model_path;
      const measurable = heldOut !== null && await hasShortAnswers(heldOut);
      const data = dataset.eval_data_path ?? dataset.train_data_path;
      return {
        tables: measurable ? [await exactMatchTable(prepared, train, heldOut)] : [],
        next: [
          {
            label: "ask it about a picture of yours",
            command: `deno task generate --model ${saved} --image PICTURE.png --prompt "QUESTION"`,
          },
          { label: "measure it", command: `deno task eval --model ${saved} --data ${data}` },
        ],
      };
    },
  };
}

/**
 * Runs SFT.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runSFT(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  return await runTraining(config, options, (prepared) => setUpSFT(config, prepared));
}
