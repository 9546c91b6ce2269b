/**
 * The sections `save` and `logging` of the YAML.
 *
 * @module
 */
import type { LoggingSection, ReporterName, SaveSection } from "../types/config_types.ts";
import { HF_ARGUMENTS, LAB_MAIN } from "../sources.ts";
import { listOf, nullable } from "../types/composite_types.ts";
import { boolean, oneOf, text } from "../types/scalar_types.ts";
import { derived, perTrainer, same, type Table, type ValueType } from "../types/value_type.ts";

/** The keys of `save`. */
export const saveKeys: Table<SaveSection> = {
  save_model_path: {
    type: text("a folder"),
    default: derived(
      "`OUTPUT_DIR/final_model`",
      ({ training }) => `${training.output_dir.replace(/\/+$/, "")}/final_model`,
    ),
    source: LAB_MAIN,
    meaning: "Where the final model goes.",
  },
  save_tokenizer: {
    type: boolean(),
    default: same(true),
    source: LAB_MAIN,
    meaning: "Save the tokenizer with it.",
  },
  save_image_processor: {
    type: boolean(),
    default: same(true),
    source: LAB_MAIN,
    meaning: "Save `preprocessor_config.json` with it.",
  },
  push_to_hub: {
    type: boolean(),
    default: same(false),
    source: HF_ARGUMENTS,
    meaning: "Upload the final model; needs `hub_model_id` and `HF_TOKEN`.",
  },
  hub_model_id: {
    type: nullable(text()),
    default: same(null),
    source: HF_ARGUMENTS,
    meaning: "The repository to upload to: `user/name`.",
  },
  hub_private_repo: {
    type: nullable(boolean()),
    default: same(null),
    source: HF_ARGUMENTS,
    meaning: "Whether a repository made for it is private; null: as the account has it.",
  },
};

const REPORTERS: readonly ReporterName[] = ["tensorboard", "wandb", "trackio", "mlflow"];

/** Transformers' `none` and `all` beside names. */
const reporters: ValueType<ReporterName[]> = {
  name: "tensorboard, wandb, trackio, mlflow, none or all, or a list of such",
  read(node, key, problems) {
    const names = listOf(oneOf([...REPORTERS, "none", "all"] as const)).read(node, key, problems);
    if (names === undefined) return undefined;
    const chosen: ReporterName[] = names.includes("all") ? [...REPORTERS] : [];
    for (const name of names) {
      if (name !== "none" && name !== "all" && !chosen.includes(name)) chosen.push(name);
    }
    return chosen;
  },
};

/** The keys of `logging`. */
export const loggingKeys: Table<LoggingSection> = {
  use_wandb: {
    type: boolean(),
    default: same(false),
    source: LAB_MAIN,
    meaning: "The same as `wandb` in `report_to`.",
  },
  report_to: {
    type: reporters,
    default: derived(
      "[tensorboard], and wandb under `use_wandb`",
      ({ logging }) => logging.use_wandb ? ["tensorboard", "wandb"] : ["tensorboard"],
    ),
    source: LAB_MAIN,
    meaning:
      "Where metrics go beside metrics.jsonl and the report: `tensorboard`; `wandb`: an offline run " +
      "in the output folder that `wandb sync` uploads; `trackio`: the server in `TRACKIO_SERVER_URL`, " +
      "else the database that `trackio show` reads; `mlflow`: the server in `MLFLOW_TRACKING_URI`; " +
      "`none`, `all`. A tracker that fails is said once, and the run goes on.",
  },
  wandb_project: {
    type: text(),
    default: perTrainer("nanovlm-sft", "nanovlm-dpo", "nanovlm-grpo", "nanovlm-gkd"),
    source: "NanoVLM-Lab `configs/`",
    meaning: "The project on Weights & Biases and Trackio, the experiment on MLflow.",
  },
  wandb_entity: {
    type: nullable(text()),
    default: same(null),
    source: "NanoVLM-Lab `configs/`",
    meaning: "The team on Weights & Biases.",
  },
  run_name: {
    type: nullable(text()),
    default: same(null),
    source: HF_ARGUMENTS,
    meaning: "What trackers call the run; null: the name of the output folder.",
  },
};
