/**
 * The whole YAML as one table: types, defaults with their sources, checks and meanings.
 *
 * @module
 */
import type { ResolvedConfig } from "../types/config_types.ts";
import { datasetKeys } from "./dataset.ts";
import { dpoKeys } from "./methods/dpo.ts";
import { gkdKeys } from "./methods/gkd.ts";
import { grpoKeys } from "./methods/grpo.ts";
import { modelKeys } from "./model.ts";
import { loggingKeys, saveKeys } from "./output.ts";
import { rewardKeys } from "./rewards.ts";
import { sftKeys } from "./methods/sft.ts";
import { trainingKeys } from "./training.ts";
import { group, mapOf } from "../types/composite_types.ts";
import { oneOf } from "../types/scalar_types.ts";
import { derived, type KeySpec, required, type Table } from "../types/value_type.ts";

function section<T extends object>(table: Table<T>, meaning: string): KeySpec<T> {
  // A section that is absent is an empty one, whose keys have defaults of their own.
  return { type: group(table), default: derived("", () => ({}) as T), source: "", meaning };
}

/** Every key of the YAML. Defaults are filled in this order, so that later ones can use earlier. */
export const configTable: Table<ResolvedConfig> = {
  training_type: {
    type: oneOf(["sft", "dpo", "grpo", "gkd"]),
    default: required,
    source: "NanoVLM-Lab `rlvlm/main.py`",
    meaning:
      "The trainer. `train sft`, `train dpo`, `train grpo` and `train gkd` set it if the file has none.",
  },
  model: section(modelKeys, "The model and its adapter."),
  dataset: section(datasetKeys, "The rows and what is done to them."),
  training: section(trainingKeys, "The optimizer, the loop and its rhythm."),
  sft: section(sftKeys, "Read if `training_type` is `sft`."),
  dpo: section(dpoKeys, "Read if `training_type` is `dpo`."),
  grpo: section(grpoKeys, "Read if `training_type` is `grpo`."),
  gkd: section(gkdKeys, "Read if `training_type` is `gkd`."),
  rewards: {
    type: mapOf(group(rewardKeys, { filled: false })),
    default: derived("none", () => ({})),
    source: "ours",
    meaning: "Options of reward and preprocessing modules, by module (as written in " +
      "`reward_functions_fn` or `preprocessing_fn`) or by function name; a function's options win " +
      "over its module's.",
  },
  save: section(saveKeys, "The final model."),
  logging: section(loggingKeys, "Where metrics go."),
};
