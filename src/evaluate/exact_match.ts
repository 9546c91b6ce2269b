/**
 * Exact match of answers: trimmed and case-folded, overall and by the kind of answer.
 *
 * @module
 */

import { isExactMatch } from "./metrics/exact_match.ts";

/** How many questions there were and the share of right answers. */
export interface MatchScore {
  readonly questions: number;
  /** 0 … 1; 0 without questions. */
  readonly exactMatch: number;
}

/** Counts right answers. */
export class ExactMatchTally {
  readonly #counts = new Map<string | null, { questions: number; right: number }>();

  /**
   * Counts one answer.
   *
   * @param type kind of answer, if the data says it
   * @returns whether it is right
   */
  add(answer: string, expected: string, type: string | null = null): boolean {
    const right = isExactMatch(answer, expected);
    for (const key of type === null ? [null] : [null, type]) {
      const count = this.#counts.get(key) ?? { questions: 0, right: 0 };
      count.questions++;
      if (right) count.right++;
      this.#counts.set(key, count);
    }
    return right;
  }

  #score(key: string | null): MatchScore {
    const { questions, right } = this.#counts.get(key) ?? { questions: 0, right: 0 };
    return { questions, exactMatch: questions === 0 ? 0 : right / questions };
  }

  /** Over all questions. */
  get overall(): MatchScore {
    return this.#score(null);
  }

  /** By the kind of answer, in alphabetical order; empty if the data has none. */
  get byType(): ReadonlyMap<string, MatchScore> {
    const types = [...this.#counts.keys()].filter((type) => type !== null).sort();
    return new Map(types.map((type) => [type, this.#score(type)]));
  }
}
