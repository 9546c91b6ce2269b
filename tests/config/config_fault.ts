/**
 * The error of a config that must not parse.
 *
 * @module
 */
import { assertThrows } from "@std/assert";
import { ConfigError } from "../../src/config/config_error.ts";
import { type LoadConfigOptions, parseConfig } from "../../src/config/load_config.ts";

/** The `ConfigError` that parsing the text throws. */
export function configFault(yaml: string, options: LoadConfigOptions = {}): ConfigError {
  return assertThrows(() => parseConfig(yaml, options), ConfigError);
}

/** The least config of each trainer, with further lines after it. */
export function leastConfig(trainer: "sft" | "dpo" | "grpo" | "gkd", rest = ""): string {
  const rewards = trainer === "grpo" ? ", reward_functions_fn: builtin:accuracy" : "";
  return `training_type: ${trainer}
model: { model_name_or_path: folder }
dataset: { train_data_path: rows.jsonl${rewards} }
${rest}`;
}
