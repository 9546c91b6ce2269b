// deno-fmt-ignore-file
/**
 * The embedded defaults: files of `configs/` as strings, since modules that came over http have
 * no folder beside them. Made by `deno task embed-configs`; edit the YAML files.
 *
 * @module
 */
import type { TrainingType } from "../types/config_types.ts";

/** A config and the name of its file. */
export interface EmbeddedConfig {
  readonly file: string;
  readonly text: string;
}

/**
 * What `train` runs without `--config`: `drawings` for SFT; `sft` is the small model that
 * `dpo` and `grpo` start from.
 */
export const EMBEDDED_CONFIGS: Readonly<Record<TrainingType | "drawings", EmbeddedConfig>> = {
  drawings: {
    file: "configs/drawings_sft.yaml",
    text: `# What \`train sft\` runs without --config: a tiny nanoVLM from scratch on drawings made by code, of
# shapes at any place, of any size and on any ground, so that it answers about your own drawing too.
training_type: sft

model:
  model_name_or_path: initialize
  load_backbone: false
  init_position_embedding: sincos # a model this small learns places and counts much earlier
  initializer_range: 0.12 # about 1/sqrt(width): a model this narrow learns faster from it
  vlm_config:
    vit_hidden_dim: 64
    vit_inter_dim: 192
    vit_patch_size: 6
    vit_img_size: 48
    vit_n_heads: 4
    vit_n_blocks: 3
    lm_hidden_dim: 64
    lm_inter_dim: 128
    lm_n_heads: 4
    lm_n_kv_heads: 2
    lm_n_blocks: 2
    lm_max_length: 128
    lm_tokenizer: builtin:shapes
    mp_pixel_shuffle_factor: 2
    mp_image_token_length: 16
    max_img_size: 48

dataset:
  train_data_path: builtin:drawings
  train_split: train
  eval_data_path: builtin:drawings
  eval_split: test
  dataset_format: vqa
  split_turns: true # two to five questions a picture, which is encoded once

training:
  output_dir: ./output/shapes_sft
  max_steps: 4000
  per_device_train_batch_size: 64
  per_device_eval_batch_size: 128
  gradient_accumulation_steps: 1
  optim: muon # half the steps that AdamW needs here
  learning_rate: 1.2e-3
  lr_mp: 1.2e-3
  warmup_steps: 60
  weight_decay: 0.01
  max_grad_norm: 1.0
  lr_scheduler_type: cosine
  save_steps: 2000
  eval_steps: 1000
  logging_steps: 25
  save_total_limit: 2
  seed: 42
`,
  },
  sft: {
    file: "configs/shapes_sft.yaml",
    text: `# A tiny nanoVLM from scratch on small pictures of shapes at five places: the model that \`train dpo\`,
# \`train grpo\` and \`train gkd\` start from without --config is trained this way. \`train sft\` without
# --config is drawings_sft.yaml.
training_type: sft

model:
  model_name_or_path: initialize
  load_backbone: false
  init_position_embedding: normal
  initializer_range: 0.12 # about 1/sqrt(width): a model this narrow learns faster from it
  vlm_config:
    vit_hidden_dim: 64
    vit_inter_dim: 256
    vit_patch_size: 8
    vit_img_size: 32
    vit_n_heads: 4
    vit_n_blocks: 2
    lm_hidden_dim: 64
    lm_inter_dim: 192
    lm_n_heads: 4
    lm_n_kv_heads: 2
    lm_n_blocks: 2
    lm_max_length: 96
    lm_tokenizer: builtin:shapes
    mp_pixel_shuffle_factor: 2
    mp_image_token_length: 4
    max_img_size: 32

dataset:
  train_data_path: builtin:shapes
  train_split: train
  eval_data_path: builtin:shapes
  eval_split: test
  dataset_format: vqa
  split_turns: true

training:
  output_dir: ./output/shapes_sft
  max_steps: 800
  per_device_train_batch_size: 96
  per_device_eval_batch_size: 96
  gradient_accumulation_steps: 1
  learning_rate: 2e-3
  lr_mp: 2e-3
  warmup_steps: 30
  weight_decay: 0.01
  max_grad_norm: 1.0
  lr_scheduler_type: cosine
  save_steps: 400
  eval_steps: 400
  logging_steps: 20
  save_total_limit: 2
  seed: 42
`,
  },
  dpo: {
    file: "configs/shapes_dpo.yaml",
    text: `# What \`train dpo\` runs without --config: preferences about pictures drawn by code. It starts from a
# tiny model that is made on the spot by a few steps of SFT: it answers in the right words, but does
# not look at the picture yet.
training_type: dpo

model:
  model_name_or_path: builtin:shapes

dataset:
  train_data_path: builtin:shapes
  train_split: train
  eval_data_path: builtin:shapes
  eval_split: test
  dataset_format: preference

training:
  output_dir: ./output/shapes_dpo
  max_steps: 600
  per_device_train_batch_size: 64
  per_device_eval_batch_size: 64
  gradient_accumulation_steps: 1
  learning_rate: 2e-3
  warmup_steps: 20
  weight_decay: 0.0
  max_grad_norm: 1.0
  lr_scheduler_type: cosine
  save_steps: 300
  eval_steps: 150
  logging_steps: 20
  save_total_limit: 2
  seed: 42

dpo:
  # 0.1 keeps a good model close to itself; this one has almost everything still to learn.
  beta: 1.0
  loss_type: sigmoid
`,
  },
  grpo: {
    file: "configs/shapes_grpo.yaml",
    text: `# What \`train grpo\` runs without --config: rewards for right answers in tags, about pictures drawn
# by code. It starts from a tiny model that has had some SFT on them, made on the spot and kept
# beside the output folder; a fifth of what that model saw was answered in tags.
training_type: grpo

model:
  model_name_or_path: builtin:shapes

dataset:
  train_data_path: builtin:shapes
  train_split: train
  eval_data_path: builtin:shapes
  eval_split: test
  dataset_format: grpo
  reward_functions_fn: [builtin:format, builtin:accuracy]

training:
  output_dir: ./output/shapes_grpo
  max_steps: 80
  per_device_train_batch_size: 24 # prompts, each with num_generations completions
  per_device_eval_batch_size: 300
  gradient_accumulation_steps: 1
  learning_rate: 5e-4
  lr_mp: 5e-4
  warmup_steps: 2
  weight_decay: 0.0
  max_grad_norm: 1.0
  lr_scheduler_type: constant_with_warmup
  save_steps: 40
  eval_steps: 40
  logging_steps: 10
  save_total_limit: 2
  seed: 42

grpo:
  num_generations: 8
  max_prompt_length: 64
  max_completion_length: 32
  temperature: 1.0
  loss_type: grpo
  mask_truncated_completions: false
  beta: 0.0
  scale_rewards: group
  log_completions: true
`,
  },
  gkd: {
    file: "configs/shapes_gkd.yaml",
    text: `# What \`train gkd\` runs without --config: a fresh model learns from one with twice its weights, which
# is trained on the spot on pictures drawn by code. In a quarter of the steps it learns from answers of
# its own: at first they say nothing.
training_type: gkd

model:
  model_name_or_path: initialize
  load_backbone: false
  init_position_embedding: normal
  initializer_range: 0.12
  vlm_config:
    vit_hidden_dim: 64
    vit_inter_dim: 128
    vit_patch_size: 8
    vit_img_size: 32
    vit_n_heads: 4
    vit_n_blocks: 2
    lm_hidden_dim: 64
    lm_inter_dim: 128
    lm_n_heads: 4
    lm_n_kv_heads: 2
    lm_n_blocks: 1
    lm_max_length: 96
    lm_tokenizer: builtin:shapes
    mp_pixel_shuffle_factor: 2
    mp_image_token_length: 4
    max_img_size: 32

dataset:
  train_data_path: builtin:shapes
  train_split: train
  eval_data_path: builtin:shapes
  eval_split: test
  dataset_format: vqa
  split_turns: true

training:
  output_dir: ./output/shapes_gkd
  max_steps: 600
  per_device_train_batch_size: 64
  per_device_eval_batch_size: 96
  gradient_accumulation_steps: 1
  learning_rate: 2e-3
  lr_mp: 2e-3
  warmup_steps: 20
  weight_decay: 0.01
  max_grad_norm: 1.0
  lr_scheduler_type: cosine
  save_steps: 300
  eval_steps: 300
  logging_steps: 20
  save_total_limit: 2
  seed: 42

gkd:
  teacher_model_name_or_path: builtin:shapes
  lmbda: 0.25
  beta: 0 # KL(teacher ‖ student): the strongest gradient for a student that knows nothing yet
  temperature: 0.9
  max_new_tokens: 16
`,
  },
};
