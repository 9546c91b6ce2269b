/**
 * Train nanoVLM, a small vision-language model, with SFT, DPO and GRPO on Deno's WebGPU.
 *
 * @module
 */
export { defaultVLMConfig, type VLMConfig } from "./src/model/config.ts";
export { loadConfig, type LoadConfigOptions, parseConfig } from "./src/config/load_config.ts";
export { ConfigError, type ConfigProblem } from "./src/config/config_error.ts";
export type * from "./src/config/config_types.ts";
export { stringifyConfig } from "./src/config/stringify_config.ts";
export * from "./src/rewards/mod.ts";
export { DPOTrainer, type DPOTrainerOptions } from "./src/train/dpo_trainer.ts";
export { GRPOTrainer, type GRPOTrainerOptions } from "./src/train/grpo_trainer.ts";

if (import.meta.main) {
  const { main } = await import("./tasks/main.ts");
  Deno.exit(await main(Deno.args));
}
