/**
 * The model that `train dpo` and `train grpo` start from without a config: the tiny nanoVLM of
 * `train sft`, trained on the drawn shapes before the run and stopped early, so that there is
 * something left to learn.
 *
 * @module
 */
import { dirname } from "node:path";
import { EMBEDDED_CONFIGS } from "../../config/embedded/embedded_configs.ts";
import type {
  ResolvedConfig,
  SFTSection,
  TrainingSection,
} from "../../config/types/config_types.ts";
import { parseConfig } from "../../config/load_config.ts";
import { BUILTIN_SHAPES } from "../../data/embedded/embedded_dataset.ts";
import { type BackendChoice, initBackend } from "../../device/backend.ts";
import { alone, currentRanks, onRankZero } from "../../distributed/ranks.ts";
import { announceRun } from "../run/announce_run.ts";
import { preparationProgress } from "../run/preparation_progress.ts";
import { writeFolderAtomically } from "../../atomic_write.ts";
import { GradientAccumulator } from "../loop/gradients.ts";
import { Optimizer } from "../optimizer/optimizer.ts";
import { configuredGroups, optimizerOptions } from "../optimizer/parameter_groups.ts";
import { prepareData } from "../batches/prepare_data.ts";
import { type PreparedModel, prepareModel, writePreparedModel } from "../run/prepare_model.ts";
import type { SFTDataset } from "./method.ts";
import { sftMethod } from "./setup.ts";

/** How to make a starter model. */
export interface StarterOptions {
  /** Optimizer steps of SFT, 64 questions each. */
  readonly steps: number;
  /** Of weights and shuffles; default 42. */
  readonly seed?: number;
  /** Other answers than those of the drawn shapes; `name` becomes part of the folder's name. */
  readonly style?: { readonly name: string; readonly train: SFTDataset };
  /** Called after each step. */
  readonly onProgress?: (step: number, steps: number) => void;
  /** Ends it between two steps, with its reason as the error; nothing is written then. */
  readonly signal?: AbortSignal;
}

const PLAIN_SFT: SFTSection = { loss_type: "nll", train_on_prompt: false, last_turn_only: false };

/** Steps over which the learning rate rises from 0. */
const WARMUP_STEPS = 10;

/**
 * Trains a tiny model on the drawn shapes, in memory: the same seed gives the same weights on a
 * backend.
 *
 * @param options how long
 * @returns the model, the caller's to free
 */
export async function starterModel(options: StarterOptions): Promise<PreparedModel> {
  const { steps, seed = 42, onProgress, signal } = options;
  const { file, text } = EMBEDDED_CONFIGS.sft;
  const config = parseConfig(text, {
    file,
    trainingType: "sft",
    overrides: [`training.seed=${seed}`, "training.eval_strategy=no"],
  });
  const prepared = await prepareModel(config.model, seed, undefined, signal);
  const { model } = prepared;
  const train = options.style?.train ?? (await prepareData(config, "vqa")).train;
  const training: TrainingSection = {
    ...config.training,
    gradient_accumulation_steps: 1,
    loss_reduction: "token",
    share_prefix: true,
    gradient_checkpointing: false,
    dataloader_drop_last: true,
    dataloader_num_workers: 0,
    image_feature_cache_mb: 0,
    image_feature_disk_mb: 0,
    group_by_length: false,
    token_budget: null,
    auto_find_batch_size: false,
    image_budget: null,
    max_seq_length: null,
    optim: "adamw_torch",
    optim_args: {},
    neftune_noise_alpha: null,
  };
  const method = sftMethod({ training, sft: PLAIN_SFT }, {
    prepared,
    train,
    evaluation: null,
  });
  const groups = configuredGroups(model, training);
  const optimizer = new Optimizer(groups, optimizerOptions(training));
  const accumulator = new GradientAccumulator();
  try {
    for (let step = 0; step < steps; step++) {
      signal?.throwIfAborted();
      const { parameters } = optimizer;
      const { losses } = await method.step({ accumulator, parameters, step });
      const { gradNorm } = await optimizer.measure(accumulator.gradients, losses);
      const warmup = Math.min(1, (step + 1) / WARMUP_STEPS);
      optimizer.step(accumulator.gradients, gradNorm, warmup);
      accumulator.reset();
      for (const loss of losses) loss.dispose();
      onProgress?.(step + 1, steps);
    }
  } finally {
    accumulator.reset();
    optimizer.dispose();
  }
  return { ...prepared, origin: `${steps} steps of SFT on the drawn shapes` };
}

/** Makes a model beside an output folder, unless it exists, and returns its folder. */
export type MakeStarterFolder = (
  outputDir: string,
  options: Pick<StarterOptions, "onProgress" | "signal">,
) => Promise<string>;

/** How a run starts. */
interface StartOptions {
  readonly backend: BackendChoice;
  readonly signal?: AbortSignal;
  /** The line that says where the run is watched; default: it is not. */
  readonly watched?: string;
  /** Whether the run's first lines are printed already, or there is no run; default false. */
  readonly announced?: boolean;
}

/**
 * The config of a run; if it asks for the starter, with the starter's folder as its model.
 *
 * @param makeFolder makes the starter unless it exists
 * @param name the starter's name as `model_name_or_path`
 */
export async function withStarter(
  config: ResolvedConfig,
  options: StartOptions,
  makeFolder: MakeStarterFolder,
  name: string = BUILTIN_SHAPES,
): Promise<ResolvedConfig> {
  if (config.model.model_name_or_path !== name) return config;
  const folder = await starterOf(config, options, "starter", makeFolder);
  return { ...config, model: { ...config.model, model_name_or_path: folder } };
}

/**
 * The folder of a model that is made for a run, by one of its ranks.
 *
 * @param what it is to the run
 * @param makeFolder makes it unless it exists
 */
export async function starterOf(
  config: ResolvedConfig,
  { backend: choice, signal, watched, announced = false }: StartOptions,
  what: "starter" | "teacher",
  makeFolder: MakeStarterFolder,
): Promise<string> {
  const backend = await initBackend({ backend: choice });
  if (!announced) announceRun(config, backend, watched);
  const progress = preparationProgress(
    what,
    (steps) => `a ${what} model, made now: ${steps} steps of SFT on the drawn shapes`,
  );
  const onProgress = progress.update;
  const make = () =>
    alone(() => makeFolder(config.training.output_dir, { onProgress, signal }))
      .finally(progress.finish);
  // Of several ranks, the first makes it; the others find it there, or make it on their machine.
  const ranks = currentRanks();
  const made = await onRankZero(ranks, `the ${what} model`, make);
  return ranks.rank === 0 ? made : await make();
}

/** Whether a folder holds a model. */
async function holdsModel(folder: string): Promise<boolean> {
  try {
    return (await Deno.stat(`${folder}/config.json`)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * A starter model on disk, beside the output folder: made if it does not exist yet.
 *
 * @param outputDir `training.output_dir`; the model lies next to it
 * @param options how long it is trained
 * @returns the model's folder
 */
export async function starterFolder(outputDir: string, options: StarterOptions): Promise<string> {
  const { steps, seed = 42 } = options;
  const style = options.style === undefined ? "" : `${options.style.name}_`;
  const folder = `${dirname(outputDir)}/shapes_starter_${style}${steps}_${seed}`;
  if (await holdsModel(folder)) return folder;
  const prepared = await starterModel(options);
  try {
    await writeFolderAtomically(folder, (temporary) => writePreparedModel(prepared, [], temporary));
  } finally {
    prepared.model.dispose();
  }
  return folder;
}
