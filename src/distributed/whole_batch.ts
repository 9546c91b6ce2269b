/**
 * The config of one process that trains on the batches of all ranks together.
 *
 * @module
 */
import type { ResolvedConfig } from "../config/types/config_types.ts";

/**
 * Counts the micro-batches of all ranks: a step of N ranks, each with A micro-batches, is the step of
 * one process with N·A. The methods then take those of their rank.
 *
 * @param config as the user wrote it, for each rank
 * @param size N
 */
export function wholeBatchConfig(config: ResolvedConfig, size: number): ResolvedConfig {
  if (size === 1) return config;
  const { training, grpo } = config;
  // `generation_batch_size` counts the completions of all ranks, as in TRL.
  const rounds = grpo.generation_batch_size === null ? size : 1;
  return {
    ...config,
    training: {
      ...training,
      gradient_accumulation_steps: training.gradient_accumulation_steps * size,
    },
    grpo: { ...grpo, steps_per_generation: grpo.steps_per_generation * rounds },
  };
}
