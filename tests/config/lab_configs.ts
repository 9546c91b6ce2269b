/**
 * Configs with the keys of NanoVLM-Lab's three files, all of them, in its way of writing.
 *
 * @module
 */

const model = `
model:
  model_name_or_path: "someone/nanoVLM-230M"
  use_lora: true
  lora_config:
    r: 16
    lora_alpha: 16
    lora_dropout: 0.1
    target_modules: ['down_proj', 'o_proj', 'k_proj', 'q_proj', 'gate_proj', 'up_proj', 'v_proj']
    use_dora: false
    init_lora_weights: "gaussian"
  model_type: "nanovlm"
  initialize_from_config: false`;

const training = (rates: string, extra: string) => `
training:
  output_dir: "./out"
  num_train_epochs: 3
  max_steps: -1  # whole epochs
  per_device_train_batch_size: 1
  per_device_eval_batch_size: 1
  gradient_accumulation_steps: 4
${rates}
  warmup_ratio: 0.1
  weight_decay: 0.01
  max_grad_norm: 1.0
  lr_scheduler_type: "cosine"
  bf16: true
  fp16: false
  save_strategy: "steps"
  save_steps: 500
  eval_strategy: "steps"
  eval_steps: 5
  logging_steps: 5
${extra}
  seed: 42
  device: "cuda"
  n_gpu: 1`;

const output = (name: string, reporters: string) => `
save:
  save_model_path: "./out/final_model"
  save_tokenizer: true
  save_image_processor: true

logging:
  use_wandb: false
  wandb_project: "nanovlm-${name}"
  wandb_entity: null
  report_to: ${reporters}
`;

/** The shape of `sft_config.yaml`. */
export const LAB_SFT = `training_type: "sft"
${model}
  load_backbone: true

dataset:
  train_data_path: "someone/vqa"
  train_split: "train[:5%]"
  eval_data_path: null
  eval_split: "test"
  dataset_format: "vqa"
  max_samples: null
  preprocessing_fn: "dataset_preprocessing_sft.py"
${
  training(
    `  learning_rate: 5e-5
  lr_mp: 5e-3
  lr_vision_backbone: 5e-5
  lr_language_backbone: 5e-5
  lr_lora: 5e-4`,
    "  save_total_limit: 3",
  )
}
${output("sft", '["tensorboard"]')}`;

/** The shape of `dpo_config.yaml`. */
export const LAB_DPO = `training_type: "dpo"
${model}

dataset:
  train_data_path: "someone/pairs"
  train_split: "train"
  eval_data_path: "someone/pairs"
  eval_split: "test"
  dataset_format: "preference"
  max_samples: null
  rename_columns:
    question: "prompt"
  preprocessing_fn: "dataset_preprocessing_dpo.py"
${training("  learning_rate: 5e-5", "  save_total_limit: 3")}

dpo:
  beta: 0.1
  dpo_loss_type: "sigmoid"
  label_smoothing: 0.0
  loss_type: "sigmoid"
${output("dpo", "[]")}`;

/** The shape of `grpo_config.yaml`. */
export const LAB_GRPO = `training_type: "grpo"
${model}

dataset:
  train_data_path: "someone/prompts"
  train_split: "train[:5%]"
  eval_data_path: null
  eval_split: "test"
  dataset_format: "grpo"
  max_samples: null
  rename_columns: {}
  preprocessing_fn: "dataset_preprocessing_grpo.py"
  reward_functions_fn: "reward_functions.py"
${training("  learning_rate: 5e-6", "")}

grpo:
  num_generations: 3
  max_prompt_length: 2048
  max_completion_length: 512
  temperature: 1.0
  top_p: 1.0
  top_k: 0
  loss_type: "grpo"
  importance_sampling_level: "token"
  mask_truncated_completions: true
  beta: 0.1
  epsilon: 0.2
  epsilon_high: null
  delta: null
  scale_rewards: "group"
  sapo_temperature_pos: null
  sapo_temperature_neg: null
  disable_dropout: true
  log_completions: false
  num_completions_to_print: 5
${output("grpo", "[]")}`;
