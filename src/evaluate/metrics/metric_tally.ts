/**
 * Scores of several metrics over a data set, overall and by group, with confidence intervals.
 *
 * @module
 */
import { bootstrapInterval } from "./bootstrap.ts";
import {
  type MetricName,
  metricOf,
  scoreAnswer,
  type ScoreOptions,
  stylesOf,
} from "./score_answer.ts";
import { type YesNoAnswer, yesNoScores } from "./yes_no.ts";

/**
 * Names of metrics in results: the metric's name, with its style if it is asked for twice.
 *
 * @returns one name a metric, all different
 * @throws {RangeError} if a metric is there twice in one style
 */
export function metricLabels(metrics: readonly MetricRequest[]): string[] {
  const labels = metrics.map(({ name, style }) => {
    const isAlone = metrics.filter((other) => other.name === name).length === 1;
    return isAlone ? name : `${name}_${style ?? stylesOf(name)[0] ?? ""}`;
  });
  const twice = labels.find((label, i) => labels.indexOf(label) < i);
  if (twice === undefined) return labels;
  throw new RangeError(`Metric ${twice} is asked for twice; want each one once`);
}

/** A metric with its settings. */
export interface MetricRequest extends ScoreOptions {
  readonly name: MetricName;
}

/** Mean of a metric, with the interval that holds it in 95 of 100 data sets of this kind. */
export interface MetricScore {
  readonly questions: number;
  /** 0 … 1; 0 without questions. */
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Score of a metric overall and by group. */
export interface GroupedScore {
  readonly overall: MetricScore;
  /** By the value of the grouping column, in alphabetical order; empty without one. */
  readonly byGroup: ReadonlyMap<string, MetricScore>;
  /** What only a whole data set has: precision, recall, F1 and more of `yes_no`. */
  readonly further: Readonly<Record<string, number>>;
}

/**
 * A percentile bootstrap interval of a mean (Efron, 1979), from 1,000 resamples.
 *
 * @param values at least one
 * @param seed the same seed gives the same interval
 * @returns mean and 95 % interval
 */
export function bootstrapMean(values: readonly number[], seed = 42): MetricScore {
  const questions = values.length;
  if (questions === 0) return { questions, mean: 0, low: 0, high: 0 };
  const mean = values.reduce((sum, value) => sum + value, 0) / questions;
  const interval = bootstrapInterval(
    questions,
    (drawn) => drawn.reduce((sum, i) => sum + values[i], 0) / questions,
    seed,
  );
  return { questions, mean, ...interval };
}

/**
 * Reads `NAME` or `NAME:STYLE`.
 *
 * @throws {RangeError} if there is no such metric or style
 */
export function parseMetric(text: string): MetricRequest {
  const [name, style] = text.split(":", 2);
  const metric = metricOf(name);
  const styles = stylesOf(metric.name);
  if (style !== undefined && !styles.includes(style)) {
    throw new RangeError(
      `Unknown style ${style} of ${name}; want ${
        styles.length === 0 ? "none" : `one of ${styles.join(", ")}`
      }`,
    );
  }
  return { name: metric.name, ...(style === undefined ? {} : { style }) };
}

/** Collects the scores of answers. */
export class MetricTally {
  readonly #metrics: readonly MetricRequest[];
  readonly #labels: readonly string[];
  readonly #scores: number[][];
  readonly #groups: (string | null)[] = [];
  readonly #answered: YesNoAnswer[] = [];

  /**
   * @param metrics to score by
   * @throws {RangeError} if a metric is there twice in one style
   */
  constructor(metrics: readonly MetricRequest[]) {
    this.#metrics = metrics;
    this.#labels = metricLabels(metrics);
    this.#scores = metrics.map(() => []);
  }

  /**
   * Scores one answer by every metric.
   *
   * @param group value of the grouping column, null without one
   * @returns scores by {@linkcode metricLabels}
   */
  add(
    prediction: string,
    answers: readonly string[],
    group: string | null = null,
  ): Record<string, number> {
    this.#groups.push(group);
    this.#answered.push({ prediction, answer: answers[0] });
    return Object.fromEntries(this.#metrics.map(({ name, ...options }, i) => {
      const score = scoreAnswer(name, prediction, answers, options);
      this.#scores[i].push(score);
      return [this.#labels[i], score];
    }));
  }

  /** Scores by {@linkcode metricLabels}. */
  get scores(): ReadonlyMap<string, GroupedScore> {
    const groups = [...new Set(this.#groups.filter((group) => group !== null))].sort();
    return new Map(this.#metrics.map(({ name }, i) => {
      const values = this.#scores[i];
      const of = (group: string) => values.filter((_, place) => this.#groups[place] === group);
      return [this.#labels[i], {
        overall: bootstrapMean(values),
        byGroup: new Map(groups.map((group) => [group, bootstrapMean(of(group))])),
        further: name === "yes_no" ? { ...yesNoScores(this.#answered) } : {},
      }];
    }));
  }
}
