/**
 * What a run measures before its first step, so that its report has a before and an after.
 *
 * @module
 */
import type { VisionLanguageModel } from "../../generate/vision_language_model.ts";
import { parameterCount } from "../../model/model_weights.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { EvaluationOutcome, TrainingMethod } from "../loop/training_method.ts";

/** Held-out metrics and answers before the first step. */
export interface BeforeTraining {
  /** Named `eval_…`; null if only questions were asked. */
  readonly metrics: Readonly<Record<string, number>> | null;
  /** Answers that the page shows. */
  readonly samples: readonly EvaluationSample[];
  /** All answers, if the samples are a choice of them. */
  readonly all?: readonly EvaluationSample[];
}

/** Held-out examples. */
export interface CountedExamples {
  /** null: not known. */
  readonly length: number | null;
}

/**
 * The most examples times parameters for which a whole evaluation before training is worth its time:
 * 5,000 examples of the smallest models, 8 of a model of 250 million parameters.
 */
const MOST_WORK = 2e9;

/** Whether all held-out examples can be measured before the first step, without a long wait. */
export function isQuickToMeasure(
  model: VisionLanguageModel,
  evaluation: CountedExamples | null,
): boolean {
  const examples = evaluation?.length ?? null;
  return examples !== null && examples * parameterCount(model) <= MOST_WORK;
}

/**
 * Evaluates before the first step, if that is quick.
 *
 * @param signal ends it, with its reason as the error
 * @returns null without held-out data, or if it would take long
 */
export async function evaluateBefore(
  method: TrainingMethod,
  model: VisionLanguageModel,
  evaluation: CountedExamples | null,
  signal?: AbortSignal,
): Promise<EvaluationOutcome | null> {
  return isQuickToMeasure(model, evaluation) ? await method.evaluate(signal) : null;
}
