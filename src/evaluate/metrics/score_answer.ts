/**
 * Every metric under its name.
 *
 * @module
 */
import { METRIC_NAMES, METRIC_STYLES, type MetricName } from "../../metric_names.ts";
import { anls } from "./anls.ts";
import { boxIou50 } from "./box_iou.ts";
import { choice, DEFAULT_CHOICES } from "./choice.ts";
import { contains, type ContainsStyle } from "./contains.ts";
import { isExactMatch } from "./exact_match.ts";
import { relaxedAccuracy } from "./relaxed_accuracy.ts";
import { tokenF1 } from "./token_f1.ts";
import { vqaAccuracy, type VqaStyle } from "./vqa_accuracy.ts";
import { yesNo } from "./yes_no.ts";

export { METRIC_NAMES, type MetricName };

/** What some metrics can be told. */
export interface ScoreOptions {
  /** Of `vqa_accuracy`: vqav2 (default) or textvqa; of `contains`: text (default) or no_spaces. */
  readonly style?: string;
  /** Letters of `choice`; A, B, C and D by default. */
  readonly choices?: readonly string[];
}

/** A metric: what it is, its styles, and its score of one answer. */
export interface Metric {
  readonly name: MetricName;
  readonly summary: string;
  /** @returns 0 … 1 */
  readonly score: (
    prediction: string,
    answers: readonly string[],
    options: ScoreOptions,
  ) => number;
}

const METRICS: readonly Metric[] = [
  {
    name: "exact_match",
    summary: "the answer, but for outer white space and case",
    score: (prediction, answers) =>
      answers.some((answer) => isExactMatch(prediction, answer)) ? 1 : 0,
  },
  {
    name: "anls",
    summary: "similarity of characters, 0 below one half (DocVQA, InfographicVQA)",
    score: anls,
  },
  {
    name: "relaxed_accuracy",
    summary: "numbers within 5 %, else equal text (ChartQA)",
    score: relaxedAccuracy,
  },
  {
    name: "vqa_accuracy",
    summary: "in full if three of the people asked gave this answer (VQAv2, TextVQA)",
    score: (prediction, answers, { style = "vqav2" }) =>
      vqaAccuracy(prediction, answers, style as VqaStyle),
  },
  {
    name: "choice",
    summary: "the letter of a multiple choice (MMStar, MMMU, AI2D, ScienceQA)",
    score: (prediction, answers, { choices = DEFAULT_CHOICES }) =>
      choice(prediction, answers, choices),
  },
  {
    name: "contains",
    summary: "an answer stands in the text (OCRBench)",
    score: (prediction, answers, { style = "text" }) =>
      contains(prediction, answers, style as ContainsStyle),
  },
  {
    name: "yes_no",
    summary: "yes or no; with precision, recall and F1 over a data set (POPE)",
    score: yesNo,
  },
  {
    name: "box_iou_50",
    summary: "boxes that overlap by half (RefCOCO)",
    score: boxIou50,
  },
  {
    name: "token_f1",
    summary: "F1 of the words that text and answer share (SQuAD)",
    score: tokenF1,
  },
];

/**
 * A metric by its name.
 *
 * @throws {RangeError} if there is none of that name
 */
export function metricOf(name: string): Metric {
  const metric = METRICS.find((one) => one.name === name);
  if (metric === undefined) {
    throw new RangeError(`Unknown metric ${name}; want one of ${METRIC_NAMES.join(", ")}`);
  }
  return metric;
}

/** The styles of a metric, the default first; empty if it has one form only. */
export function stylesOf(name: MetricName): readonly string[] {
  return METRIC_STYLES[name];
}

/**
 * The score of one answer.
 *
 * @param metric name
 * @param prediction the model's answer
 * @param answers accepted ones, or what all people said for `vqa_accuracy`
 * @returns 0 … 1
 * @throws {RangeError} if the metric or the style is unknown, or there is no answer to compare with
 *
 * @example A number within 5 %
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scoreAnswer } from "./score_answer.ts";
 *
 * assertEquals(scoreAnswer("relaxed_accuracy", "10", ["10.4"]), 1);
 * assertEquals(scoreAnswer("choice", "The answer is C.", ["C"]), 1);
 * ```
 */
export function scoreAnswer(
  metric: MetricName,
  prediction: string,
  answers: readonly string[],
  options: ScoreOptions = {},
): number {
  const { score } = metricOf(metric);
  const styles = stylesOf(metric);
  if (answers.length === 0) {
    throw new RangeError(`Cannot score ${metric}: there is no answer to compare with`);
  }
  if (options.style !== undefined && !styles.includes(options.style)) {
    throw new RangeError(
      `Unknown style ${options.style} of ${metric}; want ` +
        (styles.length === 0 ? "none" : `one of ${styles.join(", ")}`),
    );
  }
  return score(prediction, answers, options);
}
