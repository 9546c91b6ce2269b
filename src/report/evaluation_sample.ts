import type { Picture } from "./page/picture.ts";

/** What a preference pair scores. */
export interface PairScore {
  /** The answer that should be likelier. */
  readonly chosen: string;
  /** The other one. */
  readonly rejected: string;
  /** log p(chosen) − log p(rejected) of the model as it is, in nats. */
  readonly margin: number;
  /** The same of the reference model; null without one. */
  readonly referenceMargin: number | null;
}

/** A question of an evaluation and how it was answered. */
export interface EvaluationSample {
  /**
   * Names the question within the run, so that its answers of two evaluations are compared; default:
   * its place among the samples and its text.
   */
  readonly id?: string;
  /** The pictures it is about; small copies of them go into the report. */
  readonly pictures?: readonly Picture[];
  /** What was asked. */
  readonly question: string;
  /** What should have been answered; null if the data does not say. */
  readonly expected: string | null;
  /** What was answered. */
  readonly answer: string;
  /** Whether that is right; null if unknown. */
  readonly correct: boolean | null;
  /** Kind of question, if the data has a column of it. */
  readonly type?: string | null;
  /** The weighted sum of its rewards, if it was scored; null if no function applies. */
  readonly reward?: number | null;
  /** Both answers and their margin, if the question is a preference pair. */
  readonly pair?: PairScore;
}
