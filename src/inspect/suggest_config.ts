/**
 * A short commented config for a data set. The rules behind its numbers stand in docs/init.md.
 *
 * @module
 */
import type { DatasetFormat } from "../data/rows/formats.ts";
import type { DataFacts } from "./data_facts.ts";

/** The model that a config starts from. */
export interface StartModel {
  /** A folder or Hub id. */
  readonly name: string;
  /** Whether all of it trains: it is small. Otherwise adapters do. */
  readonly trainsWhole: boolean;
  /** Whether its modules have Hugging Face's names (SmolVLM, Idefics3), not nanoVLM's. */
  readonly isSmolVlm: boolean;
}

/** What the config is for, beside the data. */
export interface SuggestOptions {
  /** null: a small nanoVLM from scratch. */
  readonly model: StartModel | null;
  /** Where the config will be written, for the commands in it. */
  readonly file: string;
  /** For the output folder: a short name of the data. */
  readonly name: string;
}

/** The trainer of each format. */
export const TRAINER_OF: Readonly<Record<DatasetFormat, "sft" | "dpo" | "grpo">> = {
  vqa: "sft",
  preference: "dpo",
  unpaired: "dpo",
  grpo: "grpo",
};

/** What the examples of each format are called. */
const EXAMPLES: Readonly<Record<DatasetFormat, string>> = {
  vqa: "questions",
  preference: "pairs",
  unpaired: "answers",
  grpo: "prompts",
};

/** The share of the training rows that is held out without an evaluation split. */
const HELD_OUT = 0.2;

/** Largest power of two up to a number, 1 or more. */
const powerOfTwo = (value: number) => 2 ** Math.floor(Math.log2(Math.max(1, value)));

/** Batch size and epochs. */
export interface Amounts {
  readonly batch: number;
  readonly accumulation: number;
  readonly epochs: number;
  /** Optimizer steps that follow from them. */
  readonly steps: number;
}

/**
 * How much to train. A small model: an eighth of the examples a step, 4 to 64, and about 400
 * steps, but 40 epochs at most; of many examples, 10 epochs up to 20,000 of them and 3 above.
 * A large model with adapters: 8 examples a step, and 3 epochs, 1 of more than 10,000. GRPO: one.
 *
 * @param examples to train on
 */
export function amounts(examples: number, format: DatasetFormat, isSmall: boolean): Amounts {
  const [batch, accumulation] = !isSmall
    ? [1, Math.min(8, powerOfTwo(examples))]
    : [Math.min(64, Math.max(4, powerOfTwo(examples / 8))), 1];
  const perEpoch = Math.max(1, Math.ceil(examples / (batch * accumulation)));
  const few = examples <= 20_000 ? 10 : 3;
  const epochs = format === "grpo"
    ? 1
    : isSmall
    ? Math.min(40, Math.max(few, Math.round(400 / perEpoch)))
    : examples > 10_000
    ? 1
    : 3;
  return { batch, accumulation, epochs, steps: perEpoch * epochs };
}

/** The side of the pictures that a model from scratch sees, in pixels. */
export function pictureSize(side: number | null): 32 | 64 | 128 {
  if (side === null || side <= 48) return 32;
  return side <= 96 ? 64 : 128;
}

/** Lines of the section `model`. */
function modelLines(facts: DataFacts, model: StartModel | null): string[] {
  if (model !== null && model.trainsWhole) {
    return [`  model_name_or_path: ${text(model.name)} # small: all of it trains`];
  }
  if (model !== null) {
    const modules = model.isSmolVlm
      ? "'.*text_model.*\\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)'"
      : "[q_proj, k_proj, v_proj, out_proj, gate_proj, up_proj, down_proj]";
    return [
      `  model_name_or_path: ${text(model.name)}`,
      "  use_lora: true # small matrices beside the decoder train, its weights stay",
      `  lora_config: { r: 16, lora_alpha: 32, target_modules: ${modules} }`,
    ];
  }
  const size = pictureSize(facts.pictureSide);
  const shuffle = size === 128 ? 4 : 2;
  const tokens = (size / 8 / shuffle) ** 2;
  const pictures = Math.max(1, facts.mostPictures);
  // 24: the marks around a question and its answer.
  const wanted = 1.2 * (facts.longestTokens + pictures * (tokens + 1) + 24);
  const length = Math.min(1024, Math.max(96, 32 * Math.ceil(wanted / 32)));
  return [
    "  model_name_or_path: initialize # a small nanoVLM from scratch, for short answers",
    "  load_backbone: false",
    "  initializer_range: 0.12 # about 1 / sqrt(width)",
    "  init_position_embedding: normal",
    "  vlm_config:",
    `    { vit_hidden_dim: 64, vit_inter_dim: 256, vit_patch_size: 8, vit_img_size: ${size}, ` +
    `max_img_size: ${size},`,
    `      vit_n_heads: 4, vit_n_blocks: 3, mp_pixel_shuffle_factor: ${shuffle}, ` +
    `lm_max_length: ${length},`,
    "      lm_hidden_dim: 64, lm_inter_dim: 192, lm_n_heads: 4, lm_n_kv_heads: 2, lm_n_blocks: 3,",
    "      lm_tokenizer: builtin:shapes }",
  ];
}

/** Lines of the section `dataset`. */
function datasetLines(facts: DataFacts): string[] {
  const { renames, format } = facts;
  const renamed = Object.entries(renames).map(([old, name]) => `${text(old)}: ${name}`);
  const heldOut = facts.evaluation === null
    ? ["  eval_data_path: null # a fifth of the rows is held out, all rows of a picture together"]
    : [
      `  eval_data_path: ${text(facts.data)}`,
      `  eval_split: ${facts.evaluation}`,
    ];
  return [
    `  train_data_path: ${text(facts.data)}`,
    `  train_split: ${facts.train} # all ${facts.rows} rows`,
    ...heldOut,
    `  dataset_format: ${format}`,
    ...(renamed.length === 0 ? [] : [`  rename_columns: { ${renamed.join(", ")} }`]),
    ...(format === "vqa" && facts.examples > facts.rows
      ? ["  split_turns: true # each question is an example of its own"]
      : []),
    ...(format === "grpo" ? [rewardLine(facts)] : []),
  ];
}

function rewardLine({ columns }: DataFacts): string {
  const answers = ["answers", "answer", "solution"].find((name) => columns.includes(name));
  return answers === undefined
    ? "  reward_functions_fn: ./my_reward.ts # scores each answer; written beside this file"
    : `  reward_functions_fn: builtin:exact_match # 1 if the answer is that of ${answers}`;
}

/** Rates: those of the configs that this project measured, by size of model and trainer. */
function rateLines(format: DatasetFormat, model: StartModel | null): string[] {
  const isSmall = model === null || model.trainsWhole;
  if (format === "vqa") {
    return isSmall
      ? [
        "  learning_rate: 2e-3 # small models learn at high rates; halve it if the loss jumps",
        "  lr_mp: 2e-3",
      ]
      : [
        "  lr_lora: 2e-4 # of the adapter; halve it if the loss jumps",
        "  lr_mp: 0 # the projector and the vision encoder stay",
        "  lr_vision_backbone: 0",
      ];
  }
  const rate = format === "preference" ? (isSmall ? "2e-4" : "5e-5") : isSmall ? "5e-4" : "5e-6";
  return [`  learning_rate: ${rate} # halve it if answers fall apart`];
}

function metricLine({ answerWords, format }: DataFacts): string[] {
  if (answerWords === null || format !== "vqa") return [];
  const metric = answerWords <= 4 ? "exact_match" : "token_f1";
  return [`  eval_metrics: [${metric}] # of generated answers to held-out questions`];
}

/** GRPO's own section. */
function grpoLines(facts: DataFacts): string[] {
  if (facts.format !== "grpo") return [];
  const longest = facts.answerWords === null || facts.answerWords > 8 ? 256 : 32;
  return [
    "grpo:",
    "  num_generations: 8 # answers to each prompt, compared with each other",
    `  max_completion_length: ${longest}`,
  ];
}

/** A YAML scalar: as it is if that is safe, else in quotes. */
function text(value: string): string {
  return /^[\w./][\w./@-]*$/.test(value) && !/^(true|false|null|\d[\d.]*)$/i.test(value)
    ? value
    : JSON.stringify(value);
}

/** An argument of a command line: in quotes if the shell would change it. */
export function shellWord(value: string): string {
  return /^[\w./@:=-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

/** A config and what to do with it. */
export interface SuggestedConfig {
  /** The YAML with its comments. */
  readonly yaml: string;
  /** `training.output_dir`. */
  readonly outputDir: string;
  readonly trainer: "sft" | "dpo" | "grpo";
  /** Whether the reward module `my_reward.ts` has to be written. */
  readonly needsReward: boolean;
  /** The three next commands. */
  readonly next: readonly string[];
}

/**
 * Writes a config for a data set.
 *
 * @param facts what the data set has
 * @param options the model, and the names
 */
export function suggestConfig(facts: DataFacts, options: SuggestOptions): SuggestedConfig {
  const { model, file, name } = options;
  const { format, examples } = facts;
  const trainer = TRAINER_OF[format];
  const isSmall = model === null || model.trainsWhole;
  const trained = Math.ceil(examples * (facts.evaluation === null ? 1 - HELD_OUT : 1));
  const { batch, accumulation, epochs, steps } = amounts(trained, format, isSmall);
  const outputDir = `./output/${name}_${trainer}`;
  const words = shellWord(file);
  const picture = facts.example.picture ??
    (facts.mostPictures > 0 ? "PICTURE.png" : null);
  const question = facts.example.question.replace(/\s+/g, " ").trim().slice(0, 80);
  const ask = picture === null ? "" : ` --image ${shellWord(picture)}`;
  const next = [
    `deno task train ${trainer} --config ${words} --dry-run`,
    `deno task train ${trainer} --config ${words}`,
    `deno task generate --model ${shellWord(outputDir)}${ask} --prompt ${shellWord(question)}`,
  ];
  const pictures = facts.mostPictures === 0
    ? "no pictures"
    : `up to ${facts.mostPictures} picture${facts.mostPictures === 1 ? "" : "s"} a row` +
      (facts.pictureSide === null ? "" : ` (median ${facts.pictureSide} px)`);
  const lines = [
    `# ${trainer.toUpperCase()} on ${facts.data}: ${facts.rows} rows, ${examples} ` +
    `${EXAMPLES[format]}, ${pictures}. Made by init; every key: configs/README.md`,
    `training_type: ${trainer}`,
    "model:",
    ...modelLines(facts, model),
    "dataset:",
    ...datasetLines(facts),
    "training:",
    `  output_dir: ${text(outputDir)}`,
    `  num_train_epochs: ${epochs} # about ${steps} steps; logs 20 times, evaluates 5 times`,
    `  per_device_train_batch_size: ${batch}`,
    ...(isSmall ? [`  per_device_eval_batch_size: ${Math.max(16, batch)}`] : []),
    `  gradient_accumulation_steps: ${accumulation}`,
    ...rateLines(format, model),
    ...metricLine(facts),
    ...(isSmall && format !== "grpo"
      ? ["  load_best_model_at_end: true # the model of the best evaluation, not of the last step"]
      : []),
    ...(isSmall ? [] : ["  eval_metrics_questions: 32", "  gradient_checkpointing: true"]),
    ...(facts.mostPictures > 4 ? [`  max_images_per_example: ${facts.mostPictures}`] : []),
    ...(isSmall ? [] : ["  logging_steps: 1 # a step takes seconds"]),
    ...grpoLines(facts),
  ];
  const yaml =
    lines.filter((line) => isSmall || facts.format === "vqa" || !/eval_metrics/.test(line))
      .join("\n") + "\n";
  return { yaml, outputDir, trainer, needsReward: /my_reward/.test(yaml), next };
}

/** A short name of a data set, for files and folders: the last part of its path. */
export function shortName(data: string): string {
  const last = data.replace(/[/\\]+$/, "").split(/[/\\]/).at(-1) ?? data;
  const bare = last.replace(/\.(parquet|jsonl?|ndjson|csv|tsv)(\.gz)?$/i, "");
  const clean = bare.replace(/[^\w-]+/g, "_").replace(/^[_-]+|[_-]+$/g, "");
  return clean === "" ? "data" : clean;
}
