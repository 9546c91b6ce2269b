import type { TrainingSection } from "../config/types/config_types.ts";

/**
 * Optimizer steps of a run, by Trainer's rule: `max_steps`, else whole and begun steps of
 * `num_train_epochs`.
 *
 * @param stepsPerEpoch null where nobody knows
 * @throws {Error} where neither tells
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
