import type { Picture } from "./page/picture.ts";

/** A question of an evaluation and how it was answered. */
export interface EvaluationSample {
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
}
