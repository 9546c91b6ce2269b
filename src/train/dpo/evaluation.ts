/**
 * Held-out pairs under policy and reference: TRL's metrics, and how often the chosen answer is the
 * likelier one.
 *
 * @module
 */
import type { PreferenceExample } from "../../data/rows/formats.ts";
import { answerType } from "../../evaluate/question_rows.ts";
import { chooseAnswers } from "../../report/choose_answers.ts";
import type { EvaluationSample } from "../../report/evaluation_sample.ts";
import type { ResultTable } from "../../report/page/report_contents.ts";
import type { Concern } from "../../report/watch/concern.ts";
import type { PairLogProbs } from "./examples.ts";

/** All pairs, and those whose chosen answer is the likelier one. */
interface Count {
  pairs: number;
  /** The policy finds the chosen answer likelier. */
  right: number;
  /** The reference does. */
  referenceRight: number;
}

/** Counts of an evaluation. */
export class PreferenceCounts {
  readonly #all: Count = { pairs: 0, right: 0, referenceRight: 0 };
  readonly #byType = new Map<string, Count>();
  #hasReference = false;

  /**
   * Counts a batch.
   *
   * @param examples the rows of the pairs
   * @param policy sums of the answers' log-probabilities, [B] each
   * @param reference the same under the reference; null: there is none
   */
  add(
    examples: readonly PreferenceExample[],
    policy: PairLogProbs,
    reference: PairLogProbs | null,
  ): void {
    this.#hasReference ||= reference !== null;
    examples.forEach(({ columns }, i) => {
      const type = answerType(columns, 0);
      const counts = [this.#all];
      if (type !== null) {
        const count = this.#byType.get(type) ?? { pairs: 0, right: 0, referenceRight: 0 };
        this.#byType.set(type, count);
        counts.push(count);
      }
      for (const count of counts) {
        count.pairs++;
        if (policy.chosen[i] > policy.rejected[i]) count.right++;
        if (reference && reference.chosen[i] > reference.rejected[i]) count.referenceRight++;
      }
    });
  }

  /** Pairs so far. */
  get pairs(): number {
    return this.#all.pairs;
  }

  /** Share of pairs whose chosen answer the policy finds likelier. */
  get accuracy(): number {
    return this.#all.right / this.#all.pairs;
  }

  /** What is wrong with the policy; null if nothing is. */
  get concern(): Concern | null {
    const { right, referenceRight, pairs } = this.#all;
    if (!this.#hasReference || right >= referenceRight - 0.02 * pairs) return null;
    return {
      name: "worse_than_before",
      text: `The chosen answer is the likelier one in ${percent(right / pairs)} of the held-out ` +
        `pairs, and was in ${percent(referenceRight / pairs)} before training: lower ` +
        "training.learning_rate, raise dpo.beta, or see whether chosen and rejected are swapped",
    };
  }

  /**
   * Accuracy of reference and policy, by type of answer if the data has one.
   *
   * @param referenceName heading of the reference's column
   */
  table(referenceName: string): ResultTable {
    const rows = [["all pairs", this.#all] as const, ...[...this.#byType].sort()];
    return {
      title: "Held-out pairs whose chosen answer is the likelier one",
      columns: ["answers", "pairs", referenceName, "after"],
      rows: rows.map(([name, { pairs, right, referenceRight }], i) => [
        i === 0 ? name : `  ${name}`,
        pairs,
        this.#hasReference ? percent(referenceRight / pairs) : null,
        percent(right / pairs),
      ]),
    };
  }
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Pairs whose pictures are kept until the ones that are shown are chosen. */
const MOST_KEPT = 192;

/** The pairs of an evaluation for the report: all of them, and those that it shows. */
export class PairSamples {
  readonly #all: EvaluationSample[] = [];
  #kept: EvaluationSample[] = [];

  /** @param name of the data set, for the names of the pairs */
  constructor(readonly name: string) {}

  /**
   * Adds a batch.
   *
   * @param examples the rows of the pairs
   * @param policy sums of the answers' log-probabilities, [B] each
   * @param reference the same under the reference; null: there is none
   */
  add(
    examples: readonly PreferenceExample[],
    policy: PairLogProbs,
    reference: PairLogProbs | null,
  ): void {
    examples.forEach((example, i) => {
      const { prompt, chosen, rejected, images, columns } = example;
      const margin = policy.chosen[i] - policy.rejected[i];
      const correct = margin > 0;
      const sample: EvaluationSample = {
        id: `${this.name} ${this.#all.length}`,
        question: prompt.at(-1)?.content ?? "",
        expected: chosen,
        answer: correct ? chosen : rejected,
        correct,
        type: answerType(columns, 0),
        pair: {
          chosen,
          rejected,
          margin,
          referenceMargin: reference && reference.chosen[i] - reference.rejected[i],
        },
      };
      this.#all.push(sample);
      this.#kept.push({ ...sample, pictures: images.map(({ bytes }) => bytes) });
    });
    if (this.#kept.length > MOST_KEPT) this.#kept = chooseAnswers(this.#kept);
  }

  /** All pairs without pictures, the likelier answer as that of the model. */
  get all(): readonly EvaluationSample[] {
    return this.#all;
  }

  /** Those that a report shows, wrong ones first. */
  get shown(): EvaluationSample[] {
    return chooseAnswers(this.#kept);
  }
}
