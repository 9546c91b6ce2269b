/**
 * `train sft`: from a config to a trained model on disk.
 *
 * @module
 */
import type { ResolvedConfig } from "../config/config_types.ts";
import { stringifyConfig } from "../config/stringify_config.ts";
import { writeFolderAtomically } from "../atomic_write.ts";
import { type BackendChoice, initBackend } from "../device/backend.ts";
import { Reporter } from "../report/reporter.ts";
import { RunDirectory } from "../report/run_directory.ts";
import { ChatExampleBuilder } from "../text/chat_example.ts";
import { prepareOutputFolder } from "./checkpoint_folder.ts";
import { parameterGroups } from "./parameter_groups.ts";
import { prepareData } from "./prepare_data.ts";
import { type PreparedModel, prepareModel, writePreparedModel } from "./prepare_model.ts";
import { SFTExampleMaker } from "./sft_examples.ts";
import { SFTMethod } from "./sft_method.ts";
import { TileCache } from "./tile_cache.ts";
import { Trainer, type TrainResult } from "./trainer.ts";

/** How a run is started. */
export interface RunOptions {
  readonly backend: BackendChoice;
  /** A checkpoint's folder, or `auto`. */
  readonly resume?: string;
  readonly signal?: AbortSignal;
}

/** Facts about a run for its report. */
function runFacts(prepared: PreparedModel, config: ResolvedConfig, backend: string) {
  const { model } = prepared;
  const parameters = [...model.weights.values()].reduce((sum, { size }) => sum + size, 0);
  return [
    {
      title: "Model",
      facts: [
        ["weights", prepared.origin],
        ["parameters", parameters],
        ["vision", `${model.config.vit_n_blocks} blocks of ${model.config.vit_hidden_dim}`],
        ["decoder", `${model.config.lm_n_blocks} blocks of ${model.config.lm_hidden_dim}`],
        ["adapters", model.adapters.size],
      ] as [string, string | number][],
    },
    {
      title: "Data",
      facts: [
        ["training", `${config.dataset.train_data_path} (${config.dataset.train_split})`],
        ["held out", config.dataset.eval_data_path ?? "a fifth of the rows"],
      ] as [string, string | number][],
    },
    { title: "Device", facts: [["backend", backend]] as [string, string | number][] },
  ];
}

/** Names of the model's own weights among the trainable parameters. */
function trainedWeights(trainer: Trainer, prepared: PreparedModel): string[] {
  return [...trainer.optimizer.parameters.keys()].filter((name) =>
    prepared.model.weights.has(name)
  );
}

/**
 * Runs SFT.
 *
 * @param config resolved
 * @param options backend, resume, Ctrl-C
 * @returns how it ended
 */
export async function runSFT(config: ResolvedConfig, options: RunOptions): Promise<TrainResult> {
  const { training } = config;
  const backend = await initBackend({ backend: options.backend });
  const directory = RunDirectory.open(
    training.output_dir,
    options.resume === undefined ? "refuse" : "resume",
  );
  await prepareOutputFolder(training.output_dir);
  const reporter = new Reporter(directory);
  const prepared = await prepareModel(config.model, training.seed);
  const { model, tokenizer, imageProcessor } = prepared;
  const data = await prepareData(config, "vqa");
  const builder = new ChatExampleBuilder(tokenizer, {
    mpImageTokenLength: model.config.mp_image_token_length,
  });
  const maker = new SFTExampleMaker(
    builder,
    new TileCache(imageProcessor),
    training.max_seq_length ?? model.config.lm_max_length,
    model.imageTokenId,
  );
  const method = new SFTMethod(model, maker, data.train, data.evaluation, {
    batchSize: training.per_device_train_batch_size,
    evalBatchSize: training.per_device_eval_batch_size,
    gradientAccumulationSteps: training.gradient_accumulation_steps,
    lossReduction: training.loss_reduction,
    sharePrefix: training.share_prefix,
    gradientCheckpointing: training.gradient_checkpointing,
    dropLast: training.dataloader_drop_last,
    padTokenId: tokenizer.padTokenId,
    seed: training.seed,
  });
  const groups = parameterGroups(model, {
    modalityProjector: training.lr_mp,
    visionEncoder: training.lr_vision_backbone,
    languageBackbone: training.lr_language_backbone,
    lora: training.lr_lora,
  }, training.weight_decay);
  const trainer: Trainer = new Trainer(method, {
    training,
    groups,
    reporter,
    signal: options.signal,
    saveModel: (folder) => writePreparedModel(prepared, trainedWeights(trainer, prepared), folder),
  });
  try {
    const resumedFromStep = options.resume ? await trainer.resume(options.resume) : null;
    await reporter.onStart({
      title: `SFT on ${config.dataset.train_data_path}`,
      label: "sft",
      totalSteps: trainer.totalSteps,
      ...(resumedFromStep === null ? {} : { resumedFromStep }),
      facts: runFacts(prepared, config, `${backend.name}: ${backend.reason}`),
      configYaml: stringifyConfig(config),
      tensorBoard: config.logging.report_to.includes("tensorboard"),
    });
    for (const warning of prepared.warnings) reporter.onWarning(warning);
    const result = await trainer.train();
    if (result.status !== "interrupted") {
      const files = {
        tokenizer: config.save.save_tokenizer,
        imageProcessor: config.save.save_image_processor,
      };
      await writeFolderAtomically(
        config.save.save_model_path,
        (folder) => writePreparedModel(prepared, trainedWeights(trainer, prepared), folder, files),
        { existing: "update", last: "config.json" },
      );
    }
    await reporter.onEnd({ status: result.status === "interrupted" ? "interrupted" : "done" });
    return result;
  } catch (error) {
    await reporter.onEnd({
      status: "failed",
      message: error instanceof Error ? error.message : String(error),
    });
    throw error;
  } finally {
    trainer.dispose();
    model.dispose();
  }
}
