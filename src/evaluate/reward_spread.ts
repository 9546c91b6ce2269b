/**
 * How the rewards of several answers to one prompt differ.
 *
 * @module
 */
import { passAtK, passCounts } from "./pass_at_k.ts";

/** How the answers of one prompt differ, averaged over the prompts. */
export interface RewardSpread {
  /** Answers a prompt. */
  readonly samples: number;
  /** Mean of the standard deviations of a prompt's rewards (n − 1). */
  readonly rewardStd: number;
  /** Share of prompts whose answers all earn the same: GRPO learns nothing from them. */
  readonly withoutSpread: number;
  /** By function whose scores are all 0 or 1: pass@k by k, where 1 is right. */
  readonly passAt: ReadonlyMap<string, ReadonlyMap<number, number>>;
}

/** The scores of one function. */
interface FunctionScores {
  readonly name: string;
  readonly scores: readonly (number | null)[];
}

/** Counts of one function: how many answers of each prompt are right. */
interface PassCount {
  readonly right: number[];
  /** Whether every score is 0 or 1. */
  binary: boolean;
}

/** Up to this a standard deviation counts as zero. */
const ZERO_DEVIATION = 1e-8;

function standardDeviation(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/** Collects the rewards of prompts with several answers each. */
export class SpreadTally {
  readonly #samples: number;
  readonly #passes: ReadonlyMap<string, PassCount>;
  #scored = 0;
  #deviations = 0;
  #flat = 0;

  /**
   * @param samples n, answers a prompt
   * @param functions names of the reward functions
   */
  constructor(samples: number, functions: readonly string[]) {
    this.#samples = samples;
    this.#passes = new Map(functions.map((name) => [name, { right: [], binary: true }]));
  }

  /**
   * Counts some prompts.
   *
   * @param totals weighted rewards [P·n], the answers of a prompt side by side; null: none applied
   * @param functions the scores of each function, [P·n]
   */
  add(totals: readonly (number | null)[], functions: readonly FunctionScores[]): void {
    const n = this.#samples;
    for (let from = 0; from < totals.length; from += n) {
      const rewards = totals.slice(from, from + n).filter((reward) => reward !== null);
      if (rewards.length > 1) {
        const deviation = standardDeviation(rewards);
        this.#scored++;
        this.#deviations += deviation;
        if (deviation <= ZERO_DEVIATION) this.#flat++;
      }
      for (const { name, scores } of functions) {
        const count = this.#passes.get(name);
        if (count === undefined) continue;
        const own = scores.slice(from, from + n);
        if (!own.every((score) => score === 0 || score === 1)) count.binary = false;
        count.right.push(own.filter((score) => score === 1).length);
      }
    }
  }

  /** What was collected. */
  get result(): RewardSpread {
    const n = this.#samples;
    const binary = [...this.#passes].filter(([, { binary, right }]) => binary && right.length > 0);
    const passOf = (right: readonly number[]) =>
      new Map(
        passCounts(n).map((k) => [
          k,
          right.reduce((sum, c) => sum + passAtK(n, c, k), 0) / right.length,
        ]),
      );
    return {
      samples: n,
      rewardStd: this.#scored === 0 ? 0 : this.#deviations / this.#scored,
      withoutSpread: this.#scored === 0 ? 0 : this.#flat / this.#scored,
      passAt: new Map(binary.map(([name, { right }]) => [name, passOf(right)])),
    };
  }
}
