/**
 * GRPO's method and its parts out of a config, a model and data.
 *
 * @module
 */
import type { ResolvedConfig } from "../../config/types/config_types.ts";
import type { GRPOLossOptions } from "../../losses/grpo.ts";
import { grpoLosses } from "../../losses/grpo_losses.ts";
import type { FactGroup } from "../../report/page/report_contents.ts";
import type { ReportedCompletion } from "../../report/files/report_file.ts";
import type { LoadedModel } from "../../generate/load_model.ts";
import type { Environment } from "../../rewards/environment/environment_sandbox.ts";
import { exampleParts } from "../batches/example_parts.ts";
import { evalMetrics } from "../run/answer_metrics.ts";
import { GRPOEvaluator } from "./evaluation.ts";
import { GRPOMethod } from "./method.ts";
import { GRPOPromptMaker } from "./prompts.ts";
import { type GRPODataset, GRPOPromptStream } from "./prompt_stream.ts";
import { ReferencePolicy, referenceSync } from "../loop/reference_policy.ts";
import { ReplayBuffer } from "./replay_buffer.ts";
import { type ReinforceOptions, RolloutMaker } from "./rollout_maker.ts";
import { setUpSampler } from "./episodes/set_up_sampler.ts";
import { samplingSettings } from "./sampling.ts";
import type { Scorer } from "./scoring.ts";
import type { ParameterGroup } from "../optimizer/optimizer.ts";
import { configuredGroups } from "../optimizer/parameter_groups.ts";

/** Everything that a method is made of. */
export interface GRPOInputs {
  readonly prepared: LoadedModel;
  readonly train: GRPODataset;
  /** Held out; null: no evaluation. */
  readonly evaluation: GRPODataset | null;
  readonly scorer: Scorer;
  /** Answers the model's turns; null or absent: a completion is one turn. */
  readonly environment?: Environment | null;
  readonly groups: readonly ParameterGroup[];
  /** Makes rounds in place of the sampler, for a dry run. */
  readonly rollouts?: Pick<RolloutMaker, "make">;
  /** Called with all completions of a round. */
  readonly onCompletions?: (rows: readonly ReportedCompletion[]) => void;
}

/** The loss that a config asks for. */
export function grpoLossOptions({ grpo }: ResolvedConfig): GRPOLossOptions {
  const { divergenceInReward = false } = grpoLosses[grpo.loss_type];
  return {
    lossType: grpo.loss_type,
    importanceSamplingLevel: grpo.importance_sampling_level,
    epsilon: grpo.epsilon,
    epsilonHigh: grpo.epsilon_high,
    delta: grpo.delta,
    beta: divergenceInReward ? 0 : grpo.beta,
    useBiasCorrectionKl: grpo.use_bias_correction_kl,
    sapoTemperaturePos: grpo.sapo_temperature_pos,
    sapoTemperatureNeg: grpo.sapo_temperature_neg,
    vespo: {
      kPos: grpo.vespo_k_pos,
      lambdaPos: grpo.vespo_lambda_pos,
      kNeg: grpo.vespo_k_neg,
      lambdaNeg: grpo.vespo_lambda_neg,
    },
    maxCompletionLength: grpo.max_completion_length,
    topEntropyQuantile: grpo.top_entropy_quantile,
    offPolicyMaskThreshold: grpo.off_policy_mask_threshold,
  };
}

/** How RLOO and REINFORCE++ compute advantages; null for other losses. */
function reinforceOptions({ grpo }: ResolvedConfig): ReinforceOptions | null {
  const { advantages: kind, divergenceInReward = false } = grpoLosses[grpo.loss_type];
  return kind === undefined ? null : {
    kind,
    beta: divergenceInReward ? grpo.beta : 0,
    clipRange: grpo.reward_clip_range,
    normalize: grpo.normalize_advantages,
  };
}

/** For the report. */
export function grpoFacts({ grpo }: ResolvedConfig, { names }: Scorer): FactGroup {
  return {
    title: "GRPO",
    facts: [
      ["loss", grpo.loss_type],
      ["completions a prompt", grpo.num_generations],
      ["rewards", names.join(", ")],
      ...(grpo.environment === null
        ? []
        : [["environment", `${grpo.environment}, ${grpo.max_turns} turns`] as const]),
    ],
  };
}

/** Sampled completions that are printed with each log. */
export function completionsToPrint({ grpo }: ResolvedConfig): number {
  return grpo.log_completions ? grpo.num_completions_to_print ?? Infinity : 0;
}

/** What trains under GRPO, and how fast. */
export function grpoGroups(prepared: LoadedModel, { training }: ResolvedConfig): ParameterGroup[] {
  return configuredGroups(prepared.model, training);
}

/**
 * GRPO's method.
 *
 * @returns the method, and what frees the reference policy
 */
export function grpoMethod(
  config: ResolvedConfig,
  inputs: GRPOInputs,
): { method: GRPOMethod; dispose: () => void } {
  const { training, grpo } = config;
  const { model } = inputs.prepared;
  const parts = exampleParts(inputs.prepared, training.dataloader_num_workers);
  const maker = new GRPOPromptMaker(parts, grpo.max_prompt_length);
  const { environment = null, scorer, evaluation } = inputs;
  const { sampler, picturesOf } = setUpSampler(config, inputs.prepared, parts, environment);
  const batchSize = training.per_device_train_batch_size;
  const microBatchesPerRound = Math.max(
    grpo.steps_per_generation,
    training.gradient_accumulation_steps,
  );
  const rollouts = inputs.rollouts ?? new RolloutMaker({ sampler, scorer, picturesOf }, {
    numGenerations: grpo.num_generations,
    prompts: batchSize * microBatchesPerRound,
    // As many as an optimizer step needs. The samples do not depend on this number.
    promptsAtOnce: batchSize * training.gradient_accumulation_steps,
    scaleRewards: grpo.scale_rewards,
    aggregation: grpo.multi_objective_aggregation,
    reinforce: reinforceOptions(config),
    dynamicSamplingRounds: grpo.dynamic_sampling ? grpo.dynamic_sampling_max_rounds : null,
    overlongBufferLength: grpo.overlong_buffer_length,
    overlongPenaltyFactor: grpo.overlong_penalty_factor,
    maxCompletionLength: grpo.max_completion_length,
  });
  const reference = grpo.beta > 0
    ? new ReferencePolicy(model, inputs.groups, referenceSync(grpo))
    : null;
  const evaluator = evaluation && new GRPOEvaluator(
    { dataset: evaluation, maker, sampler, scorer },
    {
      batchSize: training.per_device_eval_batch_size,
      metrics: evalMetrics(training),
      numGenerations: grpo.num_generations_eval,
    },
  );
  const method = new GRPOMethod({
    model,
    dataset: inputs.train,
    prompts: new GRPOPromptStream(inputs.train, maker, {
      seed: training.seed,
      // Dry runs make their rounds without asking for prompts.
      ahead: inputs.rollouts === undefined ? batchSize * microBatchesPerRound : 0,
      lengthBatch: training.group_by_length
        ? batchSize * training.gradient_accumulation_steps
        : null,
    }),
    rollouts,
    reference,
    replay: grpo.replay_buffer_size > 0
      ? new ReplayBuffer(grpo.replay_buffer_size, training.seed)
      : null,
    evaluator,
    picturesOf,
    onCompletions: inputs.onCompletions,
  }, {
    batchSize,
    gradientAccumulationSteps: training.gradient_accumulation_steps,
    microBatchesPerRound,
    numIterations: grpo.num_iterations,
    loss: grpoLossOptions(config),
    lossReduction: training.loss_reduction,
    entropy: {
      coefficient: grpo.entropy_coef,
      adaptive: grpo.use_adaptive_entropy,
      lowest: grpo.entropy_coef_min,
      highest: grpo.entropy_coef_max,
      delta: grpo.entropy_coef_delta,
      target: grpo.entropy_target,
    },
    temperature: samplingSettings(grpo, training.seed).temperature ?? 1,
    maskTruncatedCompletions: grpo.mask_truncated_completions,
    disableDropout: grpo.disable_dropout,
    sharePrefix: training.share_prefix,
    gradientCheckpointing: training.gradient_checkpointing,
    seed: training.seed,
  });
  return { method, dispose: () => reference?.dispose() };
}
