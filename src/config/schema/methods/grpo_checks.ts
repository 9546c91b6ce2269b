/**
 * Checks of the section `grpo` that need more than one key.
 *
 * @module
 */
import { grpoLosses } from "../../../losses/grpo_losses.ts";
import type { GRPOSection, ResolvedConfig } from "../../types/config_types.ts";
import type { Finding } from "../finding.ts";
import { environmentProblems } from "./environment.ts";
import { referenceSyncProblems } from "./reference_sync.ts";

/** Mistakes in the section `grpo`. */
export function grpoProblems(config: ResolvedConfig): Finding[] {
  const { dataset, training, grpo } = config;
  const problems: Finding[] = [];
  if (dataset.reward_functions_fn.length === 0) {
    problems.push({
      key: "dataset.reward_functions_fn",
      text:
        "GRPO needs a reward module; got none, want a path or a built-in such as builtin:accuracy",
    });
  }
  if (grpo.num_generations < 2) {
    problems.push({
      key: "grpo.num_generations",
      text:
        `got ${grpo.num_generations}, want 2 or more: an advantage is a reward less the mean of ` +
        "its group (scale_rewards: " +
        `${grpo.scale_rewards}), which is 0 in a group of one`,
    });
  }
  for (const { key, isMet, want } of grpoLosses[grpo.loss_type].needs ?? []) {
    const value: unknown = Object.entries(grpo).find(([name]) => name === key)?.[1];
    if (isMet(value)) continue;
    const text = `loss_type ${grpo.loss_type} needs it; got ${value}, want ${want}`;
    problems.push({ key: `grpo.${key}`, text });
  }
  const micro = training.per_device_train_batch_size * grpo.num_generations;
  if (grpo.generation_batch_size !== null && grpo.generation_batch_size % micro !== 0) {
    problems.push({
      key: "grpo.generation_batch_size",
      text: `got ${grpo.generation_batch_size}, want a multiple of ${micro}: ` +
        `per_device_train_batch_size ${training.per_device_train_batch_size} x num_generations ` +
        `${grpo.num_generations}`,
    });
  } else if (
    grpo.generation_batch_size !== null &&
    grpo.generation_batch_size !== micro * grpo.steps_per_generation
  ) {
    problems.push({
      key: "grpo.steps_per_generation",
      text: `got ${grpo.steps_per_generation}, but generation_batch_size ` +
        `${grpo.generation_batch_size} gives ${
          grpo.generation_batch_size / micro
        }; keep one of them`,
    });
  }
  const buffer = grpo.overlong_buffer_length;
  if (buffer !== null && buffer >= grpo.max_completion_length) {
    problems.push({
      key: "grpo.overlong_buffer_length",
      text: `got ${buffer}, want less than max_completion_length, which is ` +
        grpo.max_completion_length,
    });
  }
  if (grpo.sync_ref_model && grpo.beta === 0) {
    problems.push({
      key: "grpo.sync_ref_model",
      text: "got true, but with grpo.beta 0 there is no reference; raise beta, or leave it out",
    });
  }
  return [
    ...problems,
    ...referenceSyncProblems(config, "grpo", grpo),
    ...environmentProblems(grpo),
    ...estimatorProblems(grpo),
  ];
}

/** Keys that the losses with advantages of their own do not read, and keys that only they read. */
function estimatorProblems(grpo: GRPOSection): Finding[] {
  const problems: Finding[] = [];
  const { advantages, level } = grpoLosses[grpo.loss_type];
  const refuse = (key: keyof GRPOSection, want: string) => {
    const text = `got ${grpo[key]}, which loss_type ${grpo.loss_type} does not read; want ${want}`;
    problems.push({ key: `grpo.${key}`, text });
  };
  if (advantages !== undefined && grpo.multi_objective_aggregation !== "sum_then_normalize") {
    refuse("multi_objective_aggregation", "sum_then_normalize");
  }
  if (advantages !== "leave_one_out") {
    if (grpo.normalize_advantages) refuse("normalize_advantages", "false, or loss_type rloo");
    if (grpo.reward_clip_range !== null) refuse("reward_clip_range", "null, or loss_type rloo");
  }
  if (advantages !== undefined && grpo.replay_buffer_size > 0) {
    refuse("replay_buffer_size", "0: these advantages are those of the whole round");
  }
  if (level !== undefined && grpo.importance_sampling_level !== "token") {
    refuse("importance_sampling_level", "token: the ratio is that of whole completions");
  }
  return problems;
}
