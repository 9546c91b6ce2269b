/**
 * Yes or no, the metric of POPE: accuracy, and precision, recall and F1 of "yes".
 *
 * Source: Li et al., POPE (2023), section 5.1; values as the functions of lmms-eval's
 * `tasks/pope/utils.py`. As there, `yes_ratio` is that of the right answers, not of the predictions,
 * and a prediction that is neither yes nor no is wrong without being a "no".
 *
 * @module
 */
import { strip } from "./python_text.ts";

const comparable = (text: string) => strip(text.toLowerCase());

/**
 * Whether a prediction is an accepted answer.
 *
 * @returns 0 or 1
 */
export function yesNo(prediction: string, answers: readonly string[]): number {
  return answers.some((answer) => comparable(answer) === comparable(prediction)) ? 1 : 0;
}

/** A prediction with the right answer. */
export interface YesNoAnswer {
  readonly prediction: string;
  readonly answer: string;
}

/** Over a data set; all 0 … 1, and 0 if there is nothing to divide by. */
export interface YesNoScores {
  readonly accuracy: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Share of questions whose right answer is yes. */
  readonly yes_ratio: number;
}

/** Scores of many answers. */
export function yesNoScores(answered: readonly YesNoAnswer[]): YesNoScores {
  const pairs = answered.map(({ prediction, answer }) => ({
    given: comparable(prediction),
    wanted: comparable(answer),
  }));
  const count = (given: string | null, wanted: string) =>
    pairs.filter((pair) => (given === null || pair.given === given) && pair.wanted === wanted)
      .length;
  const share = (part: number, whole: number) => whole === 0 ? 0 : part / whole;
  const truePositives = count("yes", "yes");
  const precision = share(truePositives, truePositives + count("yes", "no"));
  const recall = share(truePositives, truePositives + count("no", "yes"));
  const right = pairs.filter(({ given, wanted }) => given === wanted).length;
  return {
    accuracy: share(right, pairs.length),
    precision,
    recall,
    f1: share(2 * (precision * recall), precision + recall),
    yes_ratio: share(count(null, "yes"), count(null, "yes") + count(null, "no")),
  };
}
