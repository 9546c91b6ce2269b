/**
 * How many steps a run has, and what is due at the end of a step, as Transformers' Trainer decides.
 *
 * @module
 */
import type { SaveStrategy, TrainingSection } from "../../config/types/config_types.ts";
import type { PacedTraining } from "./intervals.ts";

/** The state of a run at the end of a step. */
export interface EndedStep {
  /** Optimizer steps done, this one included. */
  readonly step: number;
  readonly totalSteps: number;
  readonly epochEnded: boolean;
}

/** What is due. */
export interface DueWork {
  readonly log: boolean;
  readonly evaluate: boolean;
  readonly save: boolean;
}

/**
 * Whether a step logs, evaluates and saves; the last one saves unless nothing is saved at all. With
 * `save_strategy: best` no step is due: the evaluations decide.
 */
export function dueWork(training: PacedTraining, ended: EndedStep): DueWork {
  const { step, totalSteps, epochEnded } = ended;
  const last = step === totalSteps;
  const isDue = (strategy: SaveStrategy, every: number) =>
    strategy === "epoch"
      ? epochEnded || last
      : strategy === "steps" && every > 0 && step % every === 0;
  const { logging_steps, logging_first_step, save_strategy } = training;
  return {
    log: (logging_steps > 0 && (step % logging_steps === 0 || last)) ||
      (logging_first_step && step === 1),
    evaluate: isDue(training.eval_strategy, training.eval_steps) ||
      (last && training.evaluate_last && training.eval_strategy !== "no"),
    save: isDue(save_strategy, training.save_steps) ||
      (last && save_strategy !== "no" && save_strategy !== "best"),
  };
}

/**
 * Optimizer steps of a run, by Trainer's rule: `max_steps`, else whole and begun steps of
 * `num_train_epochs`.
 *
 * @param stepsPerEpoch null if it is not known
 * @throws {Error} if neither says it
 */
export function totalSteps(training: TrainingSection, stepsPerEpoch: number | null): number {
  if (training.max_steps > 0) return training.max_steps;
  if (stepsPerEpoch === null) {
    throw new Error(
      "Cannot tell how long to train: a streamed data set has no length; set training.max_steps",
    );
  }
  return Math.ceil(training.num_train_epochs * stepsPerEpoch);
}

/** How an epoch is cut into steps. */
export interface StepSizes {
  readonly batchSize: number;
  readonly gradientAccumulationSteps: number;
  readonly dropLast: boolean;
}

/** Optimizer steps of an epoch, the last one begun included: 1 or more. */
export function stepsOfEpoch(
  examples: number,
  { batchSize, gradientAccumulationSteps, dropLast }: StepSizes,
): number {
  const batches = dropLast ? Math.floor(examples / batchSize) : Math.ceil(examples / batchSize);
  return Math.max(1, Math.ceil(batches / gradientAccumulationSteps));
}

/** Optimizer steps of an epoch of prompts, whose completions are used `numIterations` times. */
export function stepsOfPrompts(
  prompts: number,
  { batchSize, gradientAccumulationSteps, numIterations }:
    & Omit<StepSizes, "dropLast">
    & { readonly numIterations: number },
): number {
  return Math.max(
    1,
    Math.ceil(prompts * numIterations / (batchSize * gradientAccumulationSteps)),
  );
}
