/**
 * How often a run logs, evaluates and saves: as its config says, else by shares of its length.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";

/** The section `training` with the steps between logs, evaluations and checkpoints. */
export interface PacedTraining extends TrainingSection {
  readonly logging_steps: number;
  readonly eval_steps: number;
  readonly save_steps: number;
  /** Whether the last step is evaluated, although `eval_steps` does not divide it. */
  readonly evaluate_last: boolean;
}

/** How often a run of any length logs, evaluates and saves, if its config does not say. */
const SHARES = { logging: 20, evaluation: 5, saving: 3 };

/** The most steps between them, so that a long run shows and saves as often: NanoVLM-Lab's. */
const MOST_STEPS = {
  sft: { logging: 100, evaluation: 500, saving: 500 },
  dpo: { logging: 100, evaluation: 500, saving: 500 },
  grpo: { logging: 10, evaluation: 50, saving: 100 },
};

/** The largest number up to `most` that divides `whole`. */
function largestDivisor(whole: number, most: number): number {
  for (let divisor = Math.min(whole, most); divisor > 1; divisor--) {
    if (whole % divisor === 0) return divisor;
  }
  return 1;
}

/**
 * The steps between logs, evaluations and checkpoints. A key that is set keeps its value. Without
 * one a run logs about 20 times, evaluates about 5 times and saves about 3 times, and a long run
 * at least as often as NanoVLM-Lab's defaults. With `load_best_model_at_end`, checkpoints fall on
 * evaluations.
 *
 * @param totalSteps optimizer steps of the run
 * @param trainingType sft, dpo or grpo; default: sft
 */
export function pacedTraining(
  training: TrainingSection,
  totalSteps: number,
  trainingType = "sft",
): PacedTraining {
  const most = trainingType === "dpo" || trainingType === "grpo"
    ? MOST_STEPS[trainingType]
    : MOST_STEPS.sft;
  const share = (part: keyof typeof SHARES) =>
    Math.max(1, Math.min(most[part], Math.ceil(totalSteps / SHARES[part])));
  const { load_best_model_at_end: best, eval_strategy, save_strategy } = training;
  const savesBest = best && eval_strategy === "steps" && save_strategy === "steps";
  const evalSteps = training.eval_steps ??
    (savesBest && training.save_steps !== null
      ? largestDivisor(training.save_steps, share("evaluation"))
      : share("evaluation"));
  const saveSteps = training.save_steps ??
    (savesBest ? Math.ceil(share("saving") / evalSteps) * evalSteps : share("saving"));
  return {
    ...training,
    logging_steps: training.logging_steps ?? share("logging"),
    eval_steps: evalSteps,
    save_steps: saveSteps,
    evaluate_last: training.eval_steps === null,
  };
}
