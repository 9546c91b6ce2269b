/**
 * Exact match of answers: trimmed and case-folded, overall and by the kind of answer.
 *
 * @module
 */

/** Text as it is compared: composed (NFC), without outer white space, case folded (ß as ss). */
function folded(text: string): string {
  return text.normalize("NFC").trim().toUpperCase().toLowerCase();
}

/**
 * Whether an answer is the expected one, apart from outer white space and case.
 *
 * @example Case and outer white space do not count
 * ```ts
 * import { assert } from "@std/assert";
 * import { isExactMatch } from "./exact_match.ts";
 *
 * assert(isExactMatch(" Red\n", "red"));
 * assert(!isExactMatch("red.", "red"));
 * ```
 */
export function isExactMatch(answer: string, expected: string): boolean {
  return folded(answer) === folded(expected);
}

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
