/**
 * How long a run will be: steps, epochs, what it logs, evaluates and saves, and about how much time.
 *
 * @module
 */
import type { ResolvedConfig, SaveStrategy } from "../../config/types/config_types.ts";
import { formatDuration } from "../../report/terminal/duration.ts";
import { stepsOfEpoch, stepsOfPrompts, totalSteps } from "../loop/due_work.ts";
import { type PacedTraining, pacedTraining } from "../loop/intervals.ts";

/** The length of a run. */
export interface PlannedRun {
  readonly steps: number;
  /** Passes over the data; null if its length is not known. */
  readonly epochs: number | null;
  readonly training: PacedTraining;
  /** Whether completions are sampled, which takes time beside the passes. */
  readonly samples: boolean;
  /** What it takes in a step. */
  readonly examples: "prompts" | "examples";
}

/**
 * The length of a config's run.
 *
 * @param examples to train on; null: not known
 * @throws {Error} if neither the data nor the config says how long to train
 */
export function plannedRun(config: ResolvedConfig, examples: number | null): PlannedRun {
  const { training, grpo, training_type } = config;
  const sizes = {
    batchSize: training.per_device_train_batch_size,
    gradientAccumulationSteps: training.gradient_accumulation_steps,
    dropLast: training.dataloader_drop_last,
  };
  const samples = training_type === "grpo" || (training_type === "gkd" && gkdSamples(config));
  const perEpoch = examples === null
    ? null
    : training_type === "grpo"
    ? stepsOfPrompts(examples, { ...sizes, numIterations: grpo.num_iterations })
    : stepsOfEpoch(examples, sizes);
  const steps = totalSteps(training, perEpoch);
  return {
    steps,
    epochs: perEpoch === null ? null : steps / perEpoch,
    training: pacedTraining(training, steps, training_type),
    samples,
    examples: training_type === "grpo" ? "prompts" : "examples",
  };
}

/** Whether GKD samples answers. */
function gkdSamples({ gkd }: ResolvedConfig): boolean {
  return gkd.lmbda > 0 || gkd.seq_kd;
}

/** `every 12 steps`, or when else. */
function rhythm(strategy: SaveStrategy, steps: number): string {
  if (strategy === "no") return "never";
  if (strategy === "best") return "after each evaluation that is the best so far";
  if (strategy === "epoch") return "every epoch";
  return steps === 1 ? "every step" : `every ${steps} steps`;
}

/**
 * The plan in lines.
 *
 * @param microBatchSeconds how long forward and backward of the longest batch took
 */
export function plannedRunLines(plan: PlannedRun, microBatchSeconds: number): string[] {
  const { steps, epochs, training, samples } = plan;
  const seconds = microBatchSeconds * training.gradient_accumulation_steps * steps;
  const passes = epochs === null
    ? ""
    : `, ${epochs.toFixed(epochs < 10 ? 2 : 0)} epochs of the training rows`;
  return [
    `run: ${steps} steps of ${
      training.per_device_train_batch_size * training.gradient_accumulation_steps
    } ${plan.examples}${passes}; logs ${rhythm("steps", training.logging_steps)}, evaluates ${
      rhythm(training.eval_strategy, training.eval_steps)
    }, saves ${rhythm(training.save_strategy, training.save_steps)}`,
    `time: at most about ${formatDuration(seconds)}, as if every batch were the longest, without ` +
    `evaluations${samples ? " and without sampling completions, which takes most of it" : ""}`,
  ];
}
