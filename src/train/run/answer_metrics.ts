/**
 * `training.eval_metrics`: metrics of generated answers as a part of an evaluation.
 *
 * @module
 */
import type { TrainingSection } from "../../config/types/config_types.ts";
import type { PreferenceExample, VqaExample } from "../../data/rows/formats.ts";
import { type HeldOutData, heldOutMetrics } from "../../evaluate/held_out_metrics.ts";
import {
  metricLabels,
  type MetricRequest,
  parseMetric,
} from "../../evaluate/metrics/metric_tally.ts";
import type { LoadedModel } from "../../generate/load_model.ts";

/** Held-out questions or prompts with answers. */
export type AnswerData = HeldOutData<VqaExample> | HeldOutData<PreferenceExample>;

/**
 * Metrics of the model as it is now on held-out data, named `eval_…`; `signal` ends it with its
 * reason as the error.
 */
export type AnswerMetrics = (
  dataset: AnswerData,
  signal?: AbortSignal,
) => Promise<Readonly<Record<string, number>>>;

/**
 * The metrics that a config asks for.
 *
 * @throws {RangeError} if one is unknown, or there twice in one style
 */
export function evalMetrics(
  { eval_metrics }: Pick<TrainingSection, "eval_metrics">,
): MetricRequest[] {
  const metrics = eval_metrics.map(parseMetric);
  metricLabels(metrics);
  return metrics;
}

/**
 * What SFT and DPO measure beside their losses.
 *
 * @param loaded what trains
 * @param evaluation held out
 * @param training which metrics, and on how many questions
 * @returns null if no metric is asked for, or nothing is held out
 * @throws {RangeError} if a metric is unknown, or there twice in one style
 */
export function answerMetrics(
  loaded: LoadedModel,
  evaluation: AnswerData | null,
  training: TrainingSection,
): AnswerMetrics | null {
  const metrics = evalMetrics(training);
  if (metrics.length === 0 || evaluation === null) return null;
  return (dataset, signal) =>
    heldOutMetrics(loaded, dataset, {
      metrics,
      questions: training.eval_metrics_questions,
      maxNewTokens: training.eval_max_new_tokens,
      // Questions are short beside a training row: more of them fit.
      batchSize: Math.max(16, training.per_device_eval_batch_size),
      signal,
    });
}
