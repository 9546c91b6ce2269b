/**
 * Names and styles of the metrics of answers; `src/evaluate/metrics` computes them.
 *
 * @module
 */

/** The styles of each metric, the default first; empty if it has one form only. */
export const METRIC_STYLES = {
  exact_match: [],
  anls: [],
  relaxed_accuracy: [],
  vqa_accuracy: ["vqav2", "textvqa"],
  choice: [],
  contains: ["text", "no_spaces"],
  yes_no: [],
  box_iou_50: [],
  token_f1: [],
} as const;

/** Name of a metric. */
export type MetricName = keyof typeof METRIC_STYLES;

/** Names of all metrics. */
export const METRIC_NAMES: readonly MetricName[] = Object.keys(METRIC_STYLES) as MetricName[];

/** Every `NAME` and `NAME:STYLE`. */
export const METRIC_REQUESTS: readonly string[] = METRIC_NAMES.flatMap((name) => [
  name,
  ...METRIC_STYLES[name].map((style) => `${name}:${style}`),
]);
