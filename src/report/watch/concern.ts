/**
 * What the watch of a run finds, and what it looks at.
 *
 * @module
 */
import type { EvaluationSample } from "../evaluation_sample.ts";
import type { MetricsRecord } from "../files/metrics_record.ts";

/** Something that is wrong with a run. */
export interface Concern {
  /** For metrics.jsonl, as `loss_rising`. */
  readonly name: string;
  /** What is wrong, and what to try. */
  readonly text: string;
}

/** What the rules look at. */
export interface RunHistory {
  /** The step at which the run ends. */
  readonly totalSteps: number;
  /** Records of logging steps, in order. */
  readonly logs: readonly MetricsRecord[];
  /** Records of evaluations, in order. */
  readonly evaluations: readonly MetricsRecord[];
  /** Of the last evaluation. */
  readonly samples: readonly EvaluationSample[];
}
