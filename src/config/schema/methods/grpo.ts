/**
 * The section `grpo` of the YAML.
 *
 * @module
 */
import { REWARD_AGGREGATIONS, SCALE_REWARDS } from "../../../losses/advantages.ts";
import { GRPO_LOSS_TYPES } from "../../../losses/grpo_losses.ts";
import { IMPORTANCE_SAMPLING_LEVELS } from "../../../losses/importance_ratio.ts";
import type { ConfigProblem } from "../../config_error.ts";
import type { GenerationKwargs, GRPOSection } from "../../types/config_types.ts";
import { LAB_GRPO, LAB_MAIN, OURS, TRL_GRPO, TRL_RLOO } from "../../sources.ts";
import { group, listOf, nullable, orDefault } from "../../types/composite_types.ts";
import { boolean, integer, number, oneOf } from "../../types/scalar_types.ts";
import { environmentKeys } from "./environment.ts";
import { referenceSyncKeys } from "./reference_sync.ts";
import { derived, same, type Table, type ValueType, wrongType } from "../../types/value_type.ts";

/** TRL takes booleans too. */
const scaling = oneOf(
  SCALE_REWARDS,
  new Map<unknown, "group" | "none">([[true, "group"], [false, "none"]]),
);

/** Keys of `generation_kwargs`. */
const generationKeys: Table<GenerationKwargs> = {
  temperature: {
    type: number({ above: 0 }),
    default: same(1),
    source: TRL_GRPO,
    meaning: "In place of `grpo.temperature`, in the loss too.",
  },
  top_p: {
    type: number({ min: 0, max: 1 }),
    default: same(1),
    source: TRL_GRPO,
    meaning: "In place of `grpo.top_p`.",
  },
  top_k: {
    type: integer({ min: 0 }),
    default: same(0),
    source: TRL_GRPO,
    meaning: "In place of `grpo.top_k`.",
  },
  min_p: {
    type: number({ min: 0, max: 1 }),
    default: same(0),
    source: TRL_GRPO,
    meaning: "In place of `grpo.min_p`.",
  },
  repetition_penalty: {
    type: number({ above: 0 }),
    default: same(1),
    source: TRL_GRPO,
    meaning: "In place of `grpo.repetition_penalty`.",
  },
};

/** A lowest and a highest number. */
const range: ValueType<[number, number]> = {
  name: "two numbers, the lower one first",
  read(node, key, problems) {
    const found: ConfigProblem[] = [];
    const values = listOf(number()).read(node, key, found) ?? [];
    if (found.length === 0 && values.length === 2 && values[0] < values[1]) {
      return [values[0], values[1]];
    }
    problems.push(wrongType(node, key, this.name));
    return undefined;
  },
};

/** The keys of `grpo`. */
export const grpoKeys: Table<GRPOSection> = {
  num_generations: {
    type: integer({ min: 1 }),
    default: same(4),
    source: LAB_MAIN,
    meaning: "Completions a prompt (G); at least 2.",
    advice: {
      range: "4 to 16",
      choose:
        "Answers to compare for each prompt. More if all answers of a prompt often score alike (`frac_reward_zero_std` near 1); the time grows with it.",
    },
  },
  ...environmentKeys,
  max_prompt_length: {
    type: integer({ min: 1 }),
    default: same(512),
    source: LAB_MAIN,
    meaning: "Longest prompt, in tokens; longer text is cut from the left, image tokens never.",
  },
  max_completion_length: {
    type: integer({ min: 1 }),
    default: same(256),
    source: LAB_MAIN,
    meaning: "Longest completion, in tokens.",
  },
  temperature: {
    type: number({ above: 0 }),
    default: same(1),
    source: LAB_MAIN,
    meaning: "Sampling temperature.",
  },
  top_p: {
    type: number({ min: 0, max: 1 }),
    default: same(1),
    source: LAB_MAIN,
    meaning: "Sample from the smallest set of tokens with this probability; 0 and 1 turn it off.",
  },
  top_k: {
    type: integer({ min: 0 }),
    default: same(0),
    source: LAB_MAIN,
    meaning: "Sample from the k likeliest tokens; 0 turns it off.",
  },
  min_p: {
    type: nullable(number({ min: 0, max: 1 })),
    default: same(null),
    source: TRL_GRPO,
    meaning: "Drop tokens below this share of the likeliest one's probability.",
  },
  repetition_penalty: {
    type: number({ above: 0 }),
    default: same(1),
    source: TRL_GRPO,
    meaning: "Above 1 makes tokens that were there already less likely.",
  },
  generation_kwargs: {
    type: group(generationKeys, { filled: false }),
    default: derived("none", () => ({})),
    source: TRL_GRPO,
    meaning: "Sampling keys of Transformers' `generate()`; they win over those of this section.",
  },
  num_generations_eval: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: OURS,
    meaning: "Answers sampled to each prompt in an evaluation. `null`: one, greedy (TRL: " +
      "`num_generations`).",
  },
  loss_type: {
    type: oneOf(GRPO_LOSS_TYPES),
    default: same("grpo" as const),
    source: LAB_MAIN,
    meaning: "The policy loss, by TRL's name. `rloo` is that of TRL's RLOO trainer; " +
      "`reinforce_plus_plus` and `reinforce_plus_plus_baseline` are REINFORCE++. These compute " +
      "advantages of their own.",
  },
  importance_sampling_level: {
    type: oneOf(IMPORTANCE_SAMPLING_LEVELS),
    default: same("token" as const),
    source: LAB_MAIN,
    meaning: "Probability ratios by token, or one a sequence (GSPO).",
  },
  mask_truncated_completions: {
    type: boolean(),
    default: same(true),
    source: LAB_MAIN,
    meaning: "Leave completions without an end token out of the loss.",
  },
  beta: {
    type: number({ min: 0 }),
    default: same(0.1),
    source: LAB_MAIN,
    meaning:
      "Weight of the KL term; 0 needs no reference model. `rloo` and `reinforce_plus_plus` " +
      "take it off the reward.",
  },
  ...referenceSyncKeys(TRL_GRPO),
  epsilon: {
    type: number({ min: 0 }),
    default: same(0.2),
    source: LAB_MAIN,
    meaning: "Lower clipping bound of the ratio.",
  },
  epsilon_high: {
    type: orDefault(number({ min: 0 })), // NanoVLM-Lab writes null
    default: derived("`epsilon`", (config) => config.grpo.epsilon),
    source: LAB_GRPO,
    meaning: "Upper clipping bound; DAPO 0.28; with `cispo` the largest weight, about 5.",
  },
  delta: {
    type: nullable(number({ above: 0 })),
    default: same(null),
    source: LAB_MAIN,
    meaning: "Two-sided clipping: the largest ratio if the advantage is negative; above " +
      "`1 + epsilon`.",
  },
  scale_rewards: {
    type: scaling,
    default: same("group" as const),
    source: LAB_MAIN,
    meaning:
      "Divide advantages by the rewards' spread in the group, in the batch, or not at all. " +
      "`true` is `group`, `false` is `none`.",
  },
  multi_objective_aggregation: {
    type: oneOf(REWARD_AGGREGATIONS),
    default: same("sum_then_normalize" as const),
    source: TRL_GRPO,
    meaning: "Several reward functions: add them up, then normalise the sum; or normalise each " +
      "within its group, add up, and normalise over the batch (`normalize_then_sum`, GDPO).",
  },
  normalize_advantages: {
    type: boolean(),
    default: same(false),
    source: TRL_RLOO,
    meaning: "`rloo`: advantages of a round get mean 0 and spread 1.",
  },
  reward_clip_range: {
    type: nullable(range),
    default: same(null),
    source: TRL_RLOO,
    meaning: "`rloo`: lowest and highest reward, as `[-1, 1]`. `null`: not clipped.",
  },
  sapo_temperature_pos: {
    type: nullable(number({ above: 0 })),
    default: same(null),
    source: LAB_GRPO,
    meaning: "SAPO's temperature if the advantage is positive; `sapo` needs it (the paper: 1.0).",
  },
  sapo_temperature_neg: {
    type: nullable(number({ above: 0 })),
    default: same(null),
    source: LAB_GRPO,
    meaning: "SAPO's temperature otherwise; `sapo` needs it (the paper: 1.05).",
  },
  vespo_k_pos: {
    type: number({ min: 0 }),
    default: same(2),
    source: TRL_GRPO,
    meaning: "Exponent of VESPO's weight if the advantage is positive.",
  },
  vespo_lambda_pos: {
    type: number({ min: 0 }),
    default: same(3),
    source: TRL_GRPO,
    meaning: "Decay of VESPO's weight if the advantage is positive.",
  },
  vespo_k_neg: {
    type: number({ min: 0 }),
    default: same(3),
    source: TRL_GRPO,
    meaning: "Exponent of VESPO's weight if the advantage is negative.",
  },
  vespo_lambda_neg: {
    type: number({ min: 0 }),
    default: same(2),
    source: TRL_GRPO,
    meaning: "Decay of VESPO's weight if the advantage is negative.",
  },
  top_entropy_quantile: {
    type: number({ min: 0, max: 1 }),
    default: same(1),
    source: TRL_GRPO,
    meaning: "Train on this share of the tokens, those with the highest entropy; 1: all.",
  },
  entropy_coef: {
    type: number({ min: 0 }),
    default: same(0),
    source: TRL_GRPO,
    meaning: "Bonus for entropy: this times the mean entropy of the tokens is taken off the loss.",
  },
  use_adaptive_entropy: {
    type: boolean(),
    default: same(false),
    source: TRL_GRPO,
    meaning:
      "Raise `entropy_coef` after steps with less entropy than `entropy_target`, lower it after others (Skywork-OR1).",
  },
  entropy_coef_min: {
    type: number({ min: 0 }),
    default: same(0),
    source: TRL_GRPO,
    meaning: "Lowest adaptive `entropy_coef`.",
  },
  entropy_coef_max: {
    type: number({ min: 0 }),
    default: same(1),
    source: TRL_GRPO,
    meaning: "Highest adaptive `entropy_coef`.",
  },
  entropy_coef_delta: {
    type: number({ min: 0 }),
    default: same(0.005),
    source: TRL_GRPO,
    meaning: "Step of the adaptive `entropy_coef`.",
  },
  entropy_target: {
    type: number({ min: 0 }),
    default: same(0.2),
    source: TRL_GRPO,
    meaning:
      "Entropy that the adaptive coefficient holds, nats a token; the bonus is off above it.",
  },
  off_policy_mask_threshold: {
    type: nullable(number({ above: 0 })),
    default: same(null),
    source: TRL_GRPO,
    meaning:
      "Leave out completions with a negative advantage that the policy has moved away from " +
      "by more than this. `null`: off.",
  },
  use_bias_correction_kl: {
    type: boolean(),
    default: same(false),
    source: TRL_GRPO,
    meaning: "Weight the KL term by the importance ratio.",
  },
  num_iterations: {
    type: integer({ min: 1 }),
    default: same(1),
    source: LAB_GRPO,
    meaning: "Times that a generated batch is trained on (mu).",
  },
  generation_batch_size: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: TRL_GRPO,
    meaning:
      "Completions of one round of generation: a multiple of `per_device_train_batch_size` x " +
      "`num_generations`. Another way to set `steps_per_generation`.",
  },
  steps_per_generation: {
    type: orDefault(integer({ min: 1 })),
    default: derived("1, or what `generation_batch_size` gives", ({ training, grpo }) =>
      Math.max(
        1,
        Math.floor(
          (grpo.generation_batch_size ?? 0) /
            (training.per_device_train_batch_size * grpo.num_generations),
        ),
      )),
    source: LAB_GRPO,
    meaning: "Micro-batches that one round of generation feeds; at least those of one optimizer " +
      "step, since the policy does not move within it.",
  },
  disable_dropout: {
    type: boolean(),
    default: same(true),
    source: LAB_MAIN,
    meaning: "No dropout while training.",
  },
  reward_weights: {
    type: nullable(listOf(number(), { min: 1 })),
    default: same(null),
    source: TRL_GRPO,
    meaning: "One weight a reward function, in their order. `null`: those under `rewards`, else 1.",
  },
  dynamic_sampling: {
    type: boolean(),
    default: same(false),
    source: "ours (DAPO, section 3.2)",
    meaning: "Replace groups whose rewards are all equal by fresh prompts.",
  },
  dynamic_sampling_max_rounds: {
    type: integer({ min: 1 }),
    default: same(4),
    source: OURS,
    meaning: "At most so many rounds of generation for one batch under `dynamic_sampling`.",
  },
  replay_buffer_size: {
    type: integer({ min: 0 }),
    default: same(0),
    source: "TRL `GRPOWithReplayBufferConfig` (there 64)",
    meaning: "Keep so many groups, those with the largest advantages and spread of rewards, and " +
      "train on them again in place of groups whose rewards are all equal. 0: off.",
  },
  overlong_buffer_length: {
    type: nullable(integer({ min: 1 })),
    default: same(null),
    source: "ours (DAPO, equation 13)",
    meaning:
      "Soft overlong punishment: completions lose reward over the last so many tokens before " +
      "`max_completion_length`. `null`: off.",
  },
  overlong_penalty_factor: {
    type: number({ min: 0 }),
    default: same(1),
    source: "ours (DAPO, equation 13)",
    meaning: "The punishment at full length.",
  },
  log_completions: {
    type: boolean(),
    default: same(false),
    source: LAB_MAIN,
    meaning: "Print a table of completions with every log.",
  },
  num_completions_to_print: {
    type: nullable(integer({ min: 0 })),
    default: same(5),
    source: LAB_MAIN,
    meaning: "Rows of that table. `null`: all.",
  },
};
