/**
 * The shape of a resolved config: every key of the YAML, filled in. The schema tables beside this
 * file hold the defaults, checks and meanings; the compiler holds the tables to these types.
 *
 * @module
 */
import type { RewardAggregation, ScaleRewards } from "../../losses/advantages.ts";
import type { DPOLossType } from "../../losses/dpo.ts";
import type { KTOLossType } from "../../losses/kto.ts";
import type { FDivergence } from "../../losses/f_divergence.ts";
import type { GRPOLossType } from "../../losses/grpo_losses.ts";
import type { ImportanceSamplingLevel } from "../../losses/importance_ratio.ts";
import type { NanoVLMConfig } from "../../vlm_config.ts";
import type { OptimizerName, OptimizerValue } from "../schema/optimizer/optimizer_names.ts";
import type { ScheduleName } from "../schema/schedule_arguments.ts";

export type {
  DPOLossType,
  FDivergence,
  GRPOLossType,
  ImportanceSamplingLevel,
  KTOLossType,
  RewardAggregation,
  ScaleRewards,
};

/** The trainers. */
export type TrainingType = "sft" | "dpo" | "grpo" | "gkd";

/** PEFT's `LoraConfig`, as far as it is supported here. */
export interface LoraSection {
  r: number;
  lora_alpha: number;
  lora_dropout: number;
  /** Module names (matched as suffixes), or one regular expression, by PEFT's rule. */
  target_modules: string[] | string;
  use_dora: boolean;
  use_rslora: boolean;
  init_lora_weights: boolean | "gaussian";
}

/** The section `model`. */
export interface ModelSection {
  model_name_or_path: string;
  initialize_from_config: boolean;
  load_backbone: boolean;
  /** Only the keys that the YAML gave; the rest is nanoVLM's default or the checkpoint's value. */
  vlm_config: Partial<NanoVLMConfig>;
  init_position_embedding: "uniform" | "normal" | "sincos";
  /** std of fresh linear layers and embeddings. */
  initializer_range: number;
  model_type: "nanovlm";
  /** Frozen matrices of linear layers in 8 bits; under `use_lora` alone. */
  load_in_8bit: boolean;
  use_lora: boolean;
  lora_config: LoraSection;
}

/** The section `dataset.augmentation`; 0 and null: off. */
export interface AugmentationSection {
  /** Largest share of each side that is cut off. */
  crop: number;
  /** Probability. */
  flip: number;
  /** Degrees. */
  rotate: number;
  colour: number;
  /** Pixels. */
  blur: number;
  jpeg_quality: number | null;
}

/** A data set of `dataset.mixture`. What it does not give is as in `dataset`. */
export interface MixtureSetSection {
  path: string;
  /** Configurations of the data set. */
  name?: string[];
  /** In metrics: `eval_LABEL_loss`. */
  label?: string;
  split?: string;
  eval_path?: string | null;
  eval_split?: string;
  /** How often it is drawn, beside the other sets' weights. */
  weight?: number;
  max_samples?: number | null;
  rename_columns?: Record<string, string>;
  preprocessing_fn?: string | null;
  image_folder?: string | null;
  split_turns?: boolean;
}

/** The section `dataset.mixture`. */
export interface MixtureSection {
  /** Empty: no mixture. */
  datasets: MixtureSetSection[];
  probabilities: number[] | null;
  stopping_strategy: "first_exhausted" | "all_exhausted" | "all_exhausted_without_replacement";
  seed: number;
}

/** The section `dataset`. */
export interface DatasetSection {
  mixture: MixtureSection;
  train_data_path: string;
  /** Configurations of the data set; empty: the default one. */
  name: string[];
  train_split: string;
  eval_data_path: string | null;
  eval_split: string;
  dataset_format: "vqa" | "preference" | "grpo";
  max_samples: number | null;
  /** Old column name to new column name. */
  rename_columns: Record<string, string>;
  preprocessing_fn: string | null;
  /** Reward modules; empty if none is set. One string in the YAML is a list of one here. */
  reward_functions_fn: string[];
  streaming: boolean;
  split_turns: boolean;
  /** What stays on one side if no evaluation data is named. */
  split_by: "auto" | "row" | "picture";
  /** Which rows are held out if no evaluation data is named. */
  split_rule: "datasets" | "legacy";
  /** Least ratings of a turn (FineVision); null: none. */
  relevance_min_rating: number | null;
  image_correspondence_min_rating: number | null;
  visual_dependency_min_rating: number | null;
  formatting_min_rating: number | null;
  augmentation: AugmentationSection;
  /** Column with the weight of a row's loss; null: all weigh 1. */
  weight_column: string | null;
  /** The folder of pictures that rows name by relative paths; null: the folder of the data file. */
  image_folder: string | null;
}

/** The names of the learning-rate schedules: Transformers', and nanoVLM's own. */
export type SchedulerName = ScheduleName;

/** When to evaluate. */
export type IntervalStrategy = "no" | "steps" | "epoch";

/** When to save. */
export type SaveStrategy = IntervalStrategy | "best";

/** The section `training`. */
export interface TrainingSection {
  output_dir: string;
  num_train_epochs: number;
  /** Optimizer steps; -1: as many as `num_train_epochs` gives. */
  max_steps: number;
  per_device_train_batch_size: number;
  /** Most tokens and pictures of a micro-batch; null: batches are of a number of rows. */
  token_budget: number | null;
  image_budget: number | null;
  /** If memory runs out: smaller micro-batches, and more of them in a step. */
  auto_find_batch_size: boolean;
  per_device_eval_batch_size: number;
  gradient_accumulation_steps: number;
  learning_rate: number;
  lr_mp: number;
  lr_vision_backbone: number;
  lr_language_backbone: number;
  lr_lora: number;
  warmup_ratio: number;
  /** Above 0 it wins over `warmup_ratio`. */
  warmup_steps: number;
  optim: OptimizerName;
  /** The optimizer's own arguments, by its package's names. */
  optim_args: Record<string, OptimizerValue>;
  /** NEFTune's noise on embeddings; null or 0: none. */
  neftune_noise_alpha: number | null;
  weight_decay: number;
  adam_beta1: number;
  adam_beta2: number;
  adam_epsilon: number;
  /** 0: no clipping. */
  max_grad_norm: number;
  lr_scheduler_type: SchedulerName;
  /** Arguments of the schedule, named as in Transformers (`num_cycles`, `min_lr_rate`, …). */
  lr_scheduler_kwargs: Record<string, number | string | boolean>;
  bf16: boolean;
  fp16: boolean;
  gradient_checkpointing: boolean;
  loss_reduction: "token" | "micro_batch";
  share_prefix: boolean;
  save_strategy: SaveStrategy;
  /** Steps between checkpoints; null: a share of the run. */
  save_steps: number | null;
  save_total_limit: number | null;
  /** Checkpoints without the state of the optimizer. */
  save_only_model: boolean;
  eval_strategy: IntervalStrategy;
  /** Steps between evaluations; null: a share of the run. */
  eval_steps: number | null;
  /** Evaluate before the first step. */
  eval_on_start: boolean;
  /** Evaluations in a row without improvement that end the run; null: none do. */
  early_stopping_patience: number | null;
  /** By how much an evaluation must be better to count as an improvement. */
  early_stopping_threshold: number;
  load_best_model_at_end: boolean;
  /** `NAME` or `NAME:STYLE`. */
  eval_metrics: string[];
  eval_metrics_questions: number;
  eval_max_new_tokens: number;
  metric_for_best_model: string;
  greater_is_better: boolean;
  /** Steps between lines of metrics; null: a share of the run. */
  logging_steps: number | null;
  logging_first_step: boolean;
  dataloader_drop_last: boolean;
  /** Threads that decode images; null: one a core but one, if they pay. */
  dataloader_num_workers: number | null;
  /** MiB of a frozen vision encoder's features that are kept in memory. */
  image_feature_cache_mb: number;
  /** MiB of them that are kept on disk beside. */
  image_feature_disk_mb: number;
  group_by_length: boolean;
  seed: number;
  /** `auto`, `cuda`, `cuda:N`, `mps`, `cpu`, `webgpu` or `wasm`. */
  device: string;
  n_gpu: number;
  /** How several processes send each other their gradients. */
  gradient_compression: "none" | "bf16";
  /** Whether gradients are sent while the backward pass still runs. */
  gradient_overlap: boolean;
  /** Tokens; null: the model's `lm_max_length`. */
  max_seq_length: number | null;
  max_images_per_example: number;
}

/** The section `sft`. */
export interface SFTSection {
  loss_type: "nll" | "dft";
  /** The loss of every token but those of pictures. */
  train_on_prompt: boolean;
  /** The loss of a conversation's last answer alone. */
  last_turn_only: boolean;
}

/** The keys of a reference that follows the policy, in `dpo` and `grpo`. */
export interface ReferenceSyncKeys {
  sync_ref_model: boolean;
  /** The policy's share of the new reference, 0 to 1. */
  ref_model_mixup_alpha: number;
  /** Optimizer steps. */
  ref_model_sync_steps: number;
}

/** The section `dpo`. */
export interface DPOSection extends ReferenceSyncKeys {
  beta: number;
  /** One or more losses, summed with `loss_weights`. One string in the YAML is a list of one. */
  loss_type: (DPOLossType | KTOLossType)[];
  /** As many as `loss_type` has. */
  loss_weights: number[];
  label_smoothing: number;
  discopop_tau: number;
  /** 0 to 1; null: off. */
  ld_alpha: number | null;
  use_weighting: boolean;
  /** KTO's. */
  desirable_weight: number;
  undesirable_weight: number;
  cpo_alpha: number;
  simpo_gamma: number;
  /** AlphaPO's; 0: off. */
  alpha: number;
  f_divergence_type: FDivergence;
  f_alpha_divergence_coef: number;
  reference_free: boolean;
  precompute_ref_log_probs: boolean;
  /** A folder or Hub id; null: the model as it was before training. */
  ref_model_name_or_path: string | null;
  disable_dropout: boolean;
}

/** The section `gkd`. */
export interface GKDSection {
  /** A folder or Hub id. */
  teacher_model_name_or_path: string | null;
  /** Share of the steps with the student's own answers, 0 to 1. */
  lmbda: number;
  /** 0 to 1. */
  beta: number;
  temperature: number;
  max_new_tokens: number;
  seq_kd: boolean;
  disable_dropout: boolean;
}

/** The keys of `grpo.generation_kwargs`. */
export interface GenerationKwargs {
  temperature: number;
  top_p: number;
  top_k: number;
  min_p: number;
  repetition_penalty: number;
}

/** Keys of `grpo` for completions of several turns. */
export interface EnvironmentKeys {
  /** Module that answers the model's turns; null: a completion is one turn. */
  environment: string | null;
  environment_options: Partial<Omit<RewardOptions, "weight">>;
  /** Turns of the model. */
  max_turns: number;
  /** null: not set. */
  max_tool_calling_iterations: number | null;
}

/** The section `grpo`. */
export interface GRPOSection extends ReferenceSyncKeys, EnvironmentKeys {
  num_generations: number;
  max_prompt_length: number;
  max_completion_length: number;
  temperature: number;
  /** 0 and 1: off. */
  top_p: number;
  /** 0: off. */
  top_k: number;
  /** null: off. */
  min_p: number | null;
  repetition_penalty: number;
  loss_type: GRPOLossType;
  importance_sampling_level: ImportanceSamplingLevel;
  mask_truncated_completions: boolean;
  /** Weight of the KL term; 0: no reference model. */
  beta: number;
  epsilon: number;
  epsilon_high: number;
  delta: number | null;
  scale_rewards: ScaleRewards;
  multi_objective_aggregation: RewardAggregation;
  /** RLOO's. */
  normalize_advantages: boolean;
  /** RLOO's; null: rewards are not clipped. */
  reward_clip_range: [lowest: number, highest: number] | null;
  /** Sampled answers a prompt in an evaluation; null: one, greedy. */
  num_generations_eval: number | null;
  /** Sampling keys that win over those of the section. */
  generation_kwargs: Partial<GenerationKwargs>;
  sapo_temperature_pos: number | null;
  sapo_temperature_neg: number | null;
  vespo_k_pos: number;
  vespo_lambda_pos: number;
  vespo_k_neg: number;
  vespo_lambda_neg: number;
  /** 1: every token. */
  top_entropy_quantile: number;
  /** Weight of the entropy in the loss; 0: none, unless it is adaptive. */
  entropy_coef: number;
  use_adaptive_entropy: boolean;
  entropy_coef_min: number;
  entropy_coef_max: number;
  entropy_coef_delta: number;
  /** Nats a token. */
  entropy_target: number;
  off_policy_mask_threshold: number | null;
  use_bias_correction_kl: boolean;
  num_iterations: number;
  /** Completions of one round of generation, as TRL counts them; null: from the key below. */
  generation_batch_size: number | null;
  /** Micro-batches that one round of generation feeds. */
  steps_per_generation: number;
  disable_dropout: boolean;
  /** One weight a reward function, in their order; null: the weights under `rewards`, else 1. */
  reward_weights: number[] | null;
  dynamic_sampling: boolean;
  dynamic_sampling_max_rounds: number;
  /** Groups; 0: off. */
  replay_buffer_size: number;
  /** Tokens; null: off. */
  overlong_buffer_length: number | null;
  overlong_penalty_factor: number;
  log_completions: boolean;
  /** null: all. */
  num_completions_to_print: number | null;
}

/** What one reward module, or one function of it, gets. */
export interface RewardOptions {
  weight: number;
  timeout_ms: number;
  memory_mb: number;
  /** Hosts, as `--allow-net` takes them; true: every host. */
  allow_net: string[] | boolean;
  /** Paths, as `--allow-read` takes them; true: every file. */
  allow_read: string[] | boolean;
  /** Names of environment variables. */
  allow_env: string[];
  processes: number;
  /** `sha256-…` over the module's graph; needed if the module is remote. */
  integrity: string | null;
}

/** The section `save`. */
export interface SaveSection {
  save_model_path: string;
  save_tokenizer: boolean;
  save_image_processor: boolean;
  push_to_hub: boolean;
  hub_model_id: string | null;
  /** Whether a repository that is made for it is private; null: the account's own default. */
  hub_private_repo: boolean | null;
}

/** Where metrics go beside the run's own files. */
export type ReporterName = "tensorboard" | "wandb" | "trackio" | "mlflow";

/** The section `logging`. */
export interface LoggingSection {
  report_to: ReporterName[];
  use_wandb: boolean;
  wandb_project: string;
  wandb_entity: string | null;
  /** null: the name of the output folder. */
  run_name: string | null;
}

/** A whole config: every section there, every key filled in. */
export interface ResolvedConfig {
  training_type: TrainingType;
  model: ModelSection;
  dataset: DatasetSection;
  training: TrainingSection;
  sft: SFTSection;
  dpo: DPOSection;
  grpo: GRPOSection;
  gkd: GKDSection;
  /** Module path or function name to what was set for it. See `rewardOptions()`. */
  rewards: Record<string, Partial<RewardOptions>>;
  save: SaveSection;
  logging: LoggingSection;
}
