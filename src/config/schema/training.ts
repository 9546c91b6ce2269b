/**
 * The section `training` of the YAML.
 *
 * @module
 */
import type { ResolvedConfig, TrainingSection } from "../types/config_types.ts";
import { SCHEDULE_NAMES } from "./schedule_arguments.ts";
import { HF_ARGUMENTS, LAB_MAIN, OURS } from "../sources.ts";
import { METRIC_REQUESTS } from "../../metric_names.ts";
import { either, listOf, mapOf, nullable } from "../types/composite_types.ts";
import { boolean, integer, number, oneOf, text } from "../types/scalar_types.ts";
import { derived, perTrainer, same, type Table, type ValueType } from "../types/value_type.ts";
import { batchBudgetKeys } from "./batch_budget.ts";
import { optimizerKeys } from "./optimizer/optimizer_keys.ts";
import { stoppingKeys } from "./training/stopping.ts";

/**
 * The rate of a part that NanoVLM-Lab gives its own in SFT alone. DPO and GRPO have one rate for
 * everything, and under LoRA train nothing else, as TRL with PEFT does: the base is their reference.
 */
function partRate(sftRate: (config: ResolvedConfig) => number): (config: ResolvedConfig) => number {
  return (config) => {
    if (config.training_type === "sft") return sftRate(config);
    return config.model.use_lora ? 0 : config.training.learning_rate;
  };
}

const baseRate = (config: ResolvedConfig) => config.training.learning_rate;

const INTERVALS = ["no", "steps", "epoch"] as const;

/** Booleans are what YAML 1.1 makes of an unquoted `no`; JSON configs may hold them. */
const interval = oneOf(INTERVALS, new Map([[false, "no" as const]]));

const device: ValueType<string> = {
  name: "one of auto, cuda, cuda:N, mps, cpu, webgpu, wasm",
  read(node, key, problems) {
    const value = node.kind === "scalar" ? String(node.value).toLowerCase() : "";
    if (/^(auto|cuda(:\d+)?|mps|cpu|webgpu|wasm)$/.test(value)) return value;
    return oneOf(["auto", "cuda", "cuda:N", "mps", "cpu", "webgpu", "wasm"]).read(
      node,
      key,
      problems,
    );
  },
};

/** The keys of `training`. */
export const trainingKeys: Table<TrainingSection> = {
  output_dir: {
    type: text("a folder"),
    default: perTrainer("./sft_output", "./dpo_output", "./grpo_output", "./gkd_output"),
    source: LAB_MAIN,
    meaning: "Where checkpoints, metrics and the report go.",
  },
  num_train_epochs: {
    type: number({ above: 0 }),
    default: perTrainer(3, 3, 1),
    source: LAB_MAIN,
    meaning: "Passes over the training rows; read if `max_steps` is -1.",
    advice: {
      range: "1 to 5 with LoRA; 10 to 40 from scratch",
      choose:
        "More for few rows, fewer for many. Stop where the held-out loss rises: `load_best_model_at_end: true` keeps the best.",
    },
  },
  max_steps: {
    type: integer({ min: -1 }),
    default: same(-1),
    source: LAB_MAIN,
    meaning: "Optimizer steps. -1: as many as `num_train_epochs` gives.",
  },
  per_device_train_batch_size: {
    type: integer({ min: 1 }),
    default: perTrainer(4, 4, 1),
    source: LAB_MAIN,
    meaning: "Rows a micro-batch. In GRPO a row is a prompt, which makes `num_generations` " +
      "completions (TRL counts completions).",
    advice: {
      range: "1 to 4 for large models, 16 to 128 for small ones",
      choose: "As many as fit into memory: `--dry-run` says how much a batch takes.",
    },
  },
  ...batchBudgetKeys,
  per_device_eval_batch_size: {
    type: integer({ min: 1 }),
    default: perTrainer(4, 4, 1),
    source: LAB_MAIN,
    meaning: "Rows a batch in evaluation.",
  },
  gradient_accumulation_steps: {
    type: integer({ min: 1 }),
    default: perTrainer(1, 1, 4),
    source: LAB_MAIN,
    meaning: "Micro-batches an optimizer step.",
    advice: {
      range: "1 to 16",
      choose:
        "Makes a larger batch without its memory: batch size times this is 8 to 64 for LoRA. A loss that jumps from log to log wants more.",
    },
  },
  learning_rate: {
    type: number({ min: 0 }),
    default: perTrainer(5e-5, 5e-5, 5e-6),
    source: LAB_MAIN,
    meaning: "Peak learning rate of every group without one of its own.",
    advice: {
      range:
        "1e-3 to 3e-3 small from scratch; 1e-5 to 5e-5 large; DPO 5e-6 to 5e-5; GRPO 1e-6 to 1e-5",
      choose: "Halve it if the loss rises or jumps, double it if it hardly falls.",
    },
  },
  lr_mp: {
    type: number({ min: 0 }),
    default: derived(
      "sft: 5e-3; dpo, grpo: 0 under LoRA, else `learning_rate`",
      partRate(() => 5e-3),
    ),
    source: LAB_MAIN,
    meaning: "Peak learning rate of the modality projector; 0 freezes it.",
  },
  lr_vision_backbone: {
    type: number({ min: 0 }),
    default: derived(
      "sft: `learning_rate`; dpo, grpo: 0 under LoRA, else `learning_rate`",
      partRate(baseRate),
    ),
    source: `${LAB_MAIN} (5e-5)`,
    meaning: "Peak learning rate of the vision encoder; 0 freezes it.",
    advice: {
      range: "0, or 1e-5 to 5e-5",
      choose:
        "0 freezes it: faster, less memory, and pictures are encoded once. Above 0 if your pictures look unlike photos and the model misses what is in them.",
    },
  },
  lr_language_backbone: {
    type: number({ min: 0 }),
    default: derived("`learning_rate`", baseRate),
    source: `${LAB_MAIN} (5e-5)`,
    meaning: "Peak learning rate of the decoder; 0 freezes it. Not read under LoRA.",
  },
  lr_lora: {
    type: number({ min: 0 }),
    default: derived(
      "sft: 5e-4; dpo, grpo: `learning_rate`",
      (config) => config.training_type === "sft" ? 5e-4 : baseRate(config),
    ),
    source: LAB_MAIN,
    meaning: "Peak learning rate of the adapter.",
    advice: {
      range: "1e-4 to 5e-4",
      choose:
        "About ten times the rate of training everything. Halve it if the held-out loss rises early.",
    },
  },
  warmup_ratio: {
    type: number({ min: 0, max: 1 }),
    default: same(0.1),
    source: LAB_MAIN,
    meaning: "Share of all steps over which the rates rise from 0.",
  },
  warmup_steps: {
    type: integer({ min: 0 }),
    default: same(0),
    source: HF_ARGUMENTS,
    meaning: "Warm-up in steps; above 0 it wins over `warmup_ratio`.",
  },
  ...optimizerKeys,
  weight_decay: {
    type: number({ min: 0 }),
    default: same(0.01),
    source: LAB_MAIN,
    meaning: "The optimizer's decoupled weight decay.",
  },
  adam_beta1: {
    type: number({ min: 0, below: 1 }),
    default: same(0.9),
    source: HF_ARGUMENTS,
    meaning: "AdamW's first beta; Lion's too (0.9 there as well).",
  },
  adam_beta2: {
    type: number({ min: 0, below: 1 }),
    default: same(0.999),
    source: HF_ARGUMENTS,
    meaning: "AdamW's second beta; Lion's too, whose paper has 0.99.",
  },
  adam_epsilon: {
    type: number({ above: 0 }),
    default: same(1e-8),
    source: HF_ARGUMENTS,
    meaning: "AdamW's epsilon.",
  },
  max_grad_norm: {
    type: number({ min: 0 }),
    default: same(1),
    source: LAB_MAIN,
    meaning: "Gradients are clipped to this global norm; 0 turns clipping off.",
  },
  lr_scheduler_type: {
    type: oneOf(SCHEDULE_NAMES),
    default: derived(
      "`cosine`; `constant` if `optim` is `schedule_free_adamw`",
      ({ training }) => training.optim === "schedule_free_adamw" ? "constant" : "cosine",
    ),
    source: `${LAB_MAIN} (its GRPO ignores the key)`,
    meaning:
      "Transformers' schedule of that name, or nanoVLM's own (`nanovlm_cosine`), stepped once an " +
      "optimizer step.",
  },
  lr_scheduler_kwargs: {
    type: mapOf(either(number(), either(boolean(), text()))),
    default: same({}),
    source: HF_ARGUMENTS,
    meaning:
      "The schedule's own arguments, named as in Transformers: `num_cycles`, `min_lr_rate`, " +
      "`num_decay_steps`, `power`, …",
  },
  bf16: {
    type: boolean(),
    default: same(false),
    source: `${HF_ARGUMENTS} (NanoVLM-Lab: true)`,
    meaning:
      "Round values to bfloat16 where PyTorch's autocast does (`src/ops/half/precision.ts` lists where), in " +
      "training, evaluation and generation; sums and master weights stay f32. It reproduces " +
      "bfloat16 runs and costs time: no API here computes in bfloat16. Not together with `fp16`.",
  },
  fp16: {
    type: boolean(),
    default: same(false),
    source: LAB_MAIN,
    meaning:
      "Round values to float16 where PyTorch's autocast does, with f32 sums and master weights and " +
      "the loss scaling of `torch.amp.GradScaler`: a step whose gradients overflow is skipped, " +
      "counted (`skipped_steps`) and halves `loss_scale`. On a CPU it costs time. Not together " +
      "with `bf16`.",
  },
  gradient_checkpointing: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Keep one activation a block and compute the rest again in the backward pass.",
  },
  loss_reduction: {
    type: oneOf(["token", "micro_batch"]),
    default: same("token" as const),
    source: OURS,
    meaning: "`token`: the loss is the mean over all label tokens of the accumulated batch. " +
      "`micro_batch`: NanoVLM-Lab's mean of the micro-batches' means.",
  },
  share_prefix: {
    type: boolean(),
    default: same(true),
    source: OURS,
    meaning:
      "Compute what rows have in common once: a prompt for its completions, an image for its " +
      "pair.",
  },
  save_strategy: {
    type: oneOf([...INTERVALS, "best"], new Map([[false, "no" as const]])),
    default: same("steps" as const),
    source: LAB_MAIN,
    meaning: "When to write a checkpoint. `best`: after each evaluation whose " +
      "`metric_for_best_model` is better than in all before it, and at no other time.",
  },
  save_steps: {
    type: nullable(integer({ min: 1 })),
    default: same<number | null>(null),
    source: `ours (${LAB_MAIN}: 500; grpo 100)`,
    meaning:
      "Steps between checkpoints. `null`: about 3 of them in a run, and at least one every 500 " +
      "steps (grpo: 100).",
  },
  save_total_limit: {
    type: nullable(integer({ min: 1 })),
    default: perTrainer<number | null>(3, 3, null),
    source: LAB_MAIN,
    meaning: "Checkpoints to keep; the best and the last are never removed. `null`: all.",
  },
  eval_strategy: {
    type: interval,
    default: same("steps" as const),
    source: LAB_MAIN,
    meaning: "When to evaluate.",
  },
  eval_steps: {
    type: nullable(integer({ min: 1 })),
    default: same<number | null>(null),
    source: `ours (${LAB_MAIN}: 500; grpo 50)`,
    meaning:
      "Steps between evaluations. `null`: about 5 of them in a run, and at least one every 500 " +
      "steps (grpo: 50). The last step is evaluated too then.",
  },
  eval_metrics: {
    type: listOf(oneOf(METRIC_REQUESTS)),
    default: same<string[]>([]),
    source: OURS,
    meaning:
      "Metrics of generated answers in every evaluation: `exact_match`, `anls`, …, or `NAME:STYLE`, " +
      "as in `eval --metric`. An evaluation logs `eval_NAME`, which `metric_for_best_model` can " +
      "name. SFT asks the held-out questions, DPO the held-out prompts (accepted: the column " +
      "`answers`, else the chosen answer), GRPO scores the answers that it rewards (accepted: the " +
      "column `answers`, `answer` or `solution`).",
  },
  eval_metrics_questions: {
    type: integer({ min: 1 }),
    default: same(256),
    source: OURS,
    meaning:
      "SFT, DPO: the most questions that `eval_metrics` asks an evaluation, a random sample that " +
      "is always the same; a streamed data set's first ones.",
  },
  eval_max_new_tokens: {
    type: integer({ min: 1 }),
    default: same(64),
    source: OURS,
    meaning: "SFT, DPO: the longest answer that `eval_metrics` generates, in tokens.",
  },
  load_best_model_at_end: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Save the weights of the best checkpoint as the final model. Saving must fall on " +
      "evaluations.",
  },
  metric_for_best_model: {
    type: text(),
    default: perTrainer("eval_loss", "eval_loss", "eval_reward"),
    source: `${HF_ARGUMENTS} (loss)`,
    meaning: "The metric that tells the best checkpoint, with or without `eval_`.",
  },
  greater_is_better: {
    type: boolean(),
    default: derived(
      "false if `metric_for_best_model` ends in `loss`, else true",
      (config) => !config.training.metric_for_best_model.endsWith("loss"),
    ),
    source: HF_ARGUMENTS,
    meaning: "Which way that metric improves.",
  },
  ...stoppingKeys,
  logging_steps: {
    type: nullable(integer({ min: 1 })),
    default: same<number | null>(null),
    source: `ours (${LAB_MAIN}: 100; grpo 10)`,
    meaning:
      "Steps between lines of metrics. `null`: about 20 of them in a run, and at least one every 100 " +
      "steps (grpo: 10).",
  },
  logging_first_step: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Log the first step too.",
  },
  dataloader_drop_last: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Leave out a last batch that is not full.",
  },
  dataloader_num_workers: {
    type: nullable(integer({ min: 0 })),
    default: same(null),
    source: `${HF_ARGUMENTS} (0)`,
    meaning:
      "Threads that decode and resize images ahead of the step. 0: none. `null`: one a core " +
      "but one, started once decoding has taken half a second. The numbers stay the same.",
  },
  image_feature_cache_mb: {
    type: number({ min: 0 }),
    default: same(1024),
    source: "ours",
    meaning:
      "MiB of memory for what a frozen vision encoder gives for a picture, which later epochs, " +
      "rollouts and the reference then reuse. 0 keeps none. The numbers stay the same.",
  },
  image_feature_disk_mb: {
    type: number({ min: 0 }),
    default: same(4096),
    source: "ours",
    meaning: "MiB of a temporary file in `output_dir` for the pictures that no longer fit in " +
      "`image_feature_cache_mb`. The file is gone when the run ends.",
  },
  group_by_length: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning:
      "Put rows of like length, by the characters of their texts, into the same steps: an order " +
      "that is less random. Not for streamed data. It saves no padding, since the rows of a batch " +
      "are joined without any.",
  },
  seed: {
    type: integer({ min: 0, max: 4294967295 }),
    default: same(42),
    source: LAB_MAIN,
    meaning: "Seed of every random choice: weights, order, dropout, sampling.",
  },
  device: {
    type: device,
    default: same("auto"),
    source: "ours (NanoVLM-Lab: cuda)",
    meaning: "`auto`, `cuda` and `mps`: the GPU there is, else the fastest CPU path. `cpu`: the " +
      "fastest CPU path. `webgpu`, `wasm`: that backend. `--backend` wins.",
  },
  n_gpu: {
    type: integer({ min: 0 }),
    default: same(1),
    source: "NanoVLM-Lab `configs/`",
    meaning:
      "A process uses one GPU; several are started with `mpirun` (docs/distributed.md). Above " +
      "1 names the command.",
  },
  gradient_compression: {
    type: oneOf(["none", "bf16"]),
    default: same("none" as const),
    source: "ours (PyTorch: `bf16_compress_hook`)",
    meaning:
      "How several processes send each other their gradients. `bf16`: rounded to bfloat16, " +
      "half the bytes; they are added in float32, and the sum is rounded once more. Without error " +
      "feedback. One process sends nothing.",
  },
  gradient_overlap: {
    type: boolean(),
    default: same(false),
    source: "ours (PyTorch: `DistributedDataParallel`)",
    meaning: "On the CPU path, several processes begin to send each other gradients while the " +
      "backward pass still computes others. Takes memory for a second copy of the gradients. Not " +
      "with `auto_find_batch_size`. When it pays: docs/distributed.md.",
  },
  max_seq_length: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: "nanoVLM (`lm_max_length`)",
    meaning:
      "Longest row, in tokens. `null`: the model's `lm_max_length`. Image tokens are never " +
      "cut.",
  },
  max_images_per_example: {
    type: integer({ min: 0 }),
    default: same(4),
    source: "NanoVLM-Lab `NanoVLMSFTConfig`",
    meaning: "Rows with more images are skipped.",
  },
};
