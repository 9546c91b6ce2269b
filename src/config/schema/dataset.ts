/**
 * The section `dataset` of the YAML.
 *
 * @module
 */
import type { AugmentationSection, DatasetSection, MixtureSection } from "../types/config_types.ts";
import { LAB_MAIN, OURS } from "../sources.ts";
import { group, listOf, mapOf, nullable } from "../types/composite_types.ts";
import { boolean, integer, oneOf, text } from "../types/scalar_types.ts";
import {
  derived,
  type KeySpec,
  perTrainer,
  requiredUnless,
  same,
  type Table,
} from "../types/value_type.ts";
import { augmentationKeys } from "./data/augmentation.ts";
import { mixtureKeys, mixtureTitle } from "./mixture.ts";

/** A least rating of turns. */
function minRating(column: string): KeySpec<number | null> {
  return {
    type: nullable(integer({ min: 0 })),
    default: same(null),
    source: "nanoVLM `TrainConfig`, 1 there",
    meaning:
      `The least number in the column \`${column}\` (FineVision: 1 to 5, one for each entry ` +
      "of `texts`) that a turn must have; a turn without one stays. `null`: all stay. SFT.",
  };
}

/** The keys of `dataset`. */
export const datasetKeys: Table<DatasetSection> = {
  mixture: {
    type: group(mixtureKeys),
    default: derived("no mixture", () => ({}) as MixtureSection),
    source: OURS,
    meaning:
      "Several data sets as one, in place of `train_data_path`: `datasets.interleave_datasets` " +
      "to the row, streamed or not.",
  },
  train_data_path: {
    type: text("a path, a Hub id or a built-in data set"),
    default: requiredUnless("there is a `mixture`", mixtureTitle),
    source: LAB_MAIN,
    meaning: "A Hub id, a `.parquet`, `.jsonl`, `.json` or `.csv` file, a folder of them, or " +
      "`builtin:drawings` or `builtin:shapes` (pictures drawn by code; the latter are smaller).",
  },
  name: {
    type: listOf(text("a configuration")),
    default: derived("the default one", () => []),
    source: "`datasets.load_dataset`",
    meaning:
      "The configuration of a data set that has several, or a list of them, whose rows stand " +
      "one after the other; `all`: every one.",
  },
  train_split: {
    type: text(),
    default: same("train"),
    source: LAB_MAIN,
    meaning: "The split to train on: `train`, `train[:5%]`, `train[10:20]`, `train[-1000:]`, " +
      "`train+validation`.",
  },
  eval_data_path: {
    type: nullable(text()),
    default: same(null),
    source: LAB_MAIN,
    meaning:
      "Where the evaluation rows are. `null`: a fifth of the training rows, as `split_by` says.",
  },
  eval_split: {
    type: text(),
    default: same("test"),
    source: LAB_MAIN,
    meaning: "The split to evaluate on; read only with `eval_data_path`.",
  },
  dataset_format: {
    type: oneOf(["vqa", "preference", "grpo"]),
    default: perTrainer("vqa" as const, "preference" as const, "grpo" as const),
    source: "NanoVLM-Lab `configs/`",
    meaning: "What the rows are: image-text pairs, preference pairs, or prompts for GRPO.",
  },
  max_samples: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: LAB_MAIN,
    meaning: "At most so many rows of each split, before preprocessing.",
  },
  rename_columns: {
    type: mapOf(text()),
    default: same({}),
    source: LAB_MAIN,
    meaning: "Old column name to new column name, before preprocessing.",
  },
  preprocessing_fn: {
    type: nullable(text()),
    default: same(null),
    source: LAB_MAIN,
    meaning:
      "A TypeScript module whose exported functions are applied to the rows in the order of " +
      "definition, in the sandbox; a name that starts with `batch_` gets columns of up to 1,000 " +
      "rows. A path, an `https:`, `jsr:` or `npm:` specifier, or `builtin:NAME`.",
  },
  reward_functions_fn: {
    type: listOf(text("a module path")),
    default: derived("none", () => []),
    source: LAB_MAIN,
    meaning:
      "TypeScript modules whose exported functions are the rewards (one, or a list): paths, " +
      "`https:`, `jsr:` or `npm:` specifiers, or `builtin:NAME`. GRPO needs one.",
  },
  streaming: {
    type: boolean(),
    default: same(false),
    source: "`datasets.load_dataset`",
    meaning: "Read rows as they are needed, in constant memory, shuffled within a buffer.",
  },
  split_turns: {
    type: boolean(),
    default: same(false),
    source: OURS,
    meaning: "Each turn of a conversation is an example of its own, with the row's images.",
  },
  split_by: {
    type: oneOf(["auto", "row", "picture"]),
    default: same("auto" as const),
    source: OURS,
    meaning:
      "What is held out if `eval_data_path` is `null`. `row`: the very rows of `datasets`' " +
      "`train_test_split(test_size=0.2, seed=42)`. `picture`: rows that show the same picture (the " +
      "same bytes of its file) stay on one side. `auto`: `picture` if rows share pictures, which " +
      "is said, else `row`; it reads up to 2 GiB of pictures to find out. In a stream, `auto` and " +
      "`picture` place a row by its first picture. A run that began before this key existed " +
      "resumes by row.",
  },
  split_rule: {
    type: oneOf(["datasets", "legacy"]),
    default: same("datasets" as const),
    source: OURS,
    meaning: "The permutation behind `split_by`. `datasets`: that of Hugging " +
      "Face's `train_test_split(test_size=0.2, seed=42)`. `legacy`: the rows of " +
      "runs that began before this key existed; such runs resume with it by themselves.",
  },
  relevance_min_rating: minRating("relevance_ratings"),
  image_correspondence_min_rating: minRating("image_correspondence_ratings"),
  visual_dependency_min_rating: minRating("visual_dependency_ratings"),
  formatting_min_rating: minRating("formatting_ratings"),
  augmentation: {
    type: group(augmentationKeys),
    default: derived("off", () => ({}) as AugmentationSection),
    source: OURS,
    meaning: "Changes of the pictures of training rows, drawn anew for each row in each epoch by " +
      "`training.seed`; evaluation sees pictures as they are. SFT.",
  },
  weight_column: {
    type: nullable(text()),
    default: same(null),
    source: OURS,
    meaning:
      "A column with a number from 0 on for each row, which multiplies the row's loss. The " +
      "loss of a step is the sum of weight × token loss over the sum of weight × label tokens, so " +
      "that equal weights of any size change nothing. Evaluation does not weigh. SFT.",
  },
  image_folder: {
    type: nullable(text()),
    default: same(null),
    source: "LLaMA-Factory `image_folder` (`media_dir`)",
    meaning:
      "The folder that relative paths of pictures start from. `null`: the folder of the data file.",
  },
};
