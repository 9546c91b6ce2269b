/**
 * Which of many answers a report shows.
 *
 * @module
 */
import type { EvaluationSample } from "./evaluation_sample.ts";

/** Cards of wrong and of right answers on a page, at most. */
const WRONG_SHOWN = 32;
const RIGHT_SHOWN = 16;

/** What decides whether an answer is shown. */
export type JudgedSample = Pick<EvaluationSample, "correct" | "type" | "reward" | "pair">;

/** Takes one of each type in turn, so that no type fills the page. */
function inTurn<S extends JudgedSample>(samples: readonly S[], count: number): S[] {
  const byType = new Map<string, S[]>();
  for (const sample of samples) {
    const type = sample.type ?? "";
    byType.set(type, [...byType.get(type) ?? [], sample]);
  }
  const lists = [...byType.values()];
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  const turns = Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list[i] ?? []));
  return turns.flat().slice(0, count);
}

/** Lower is worse: the margin of a pair, else the reward. */
function worth({ pair, reward }: JudgedSample): number {
  return pair?.margin ?? reward ?? 0;
}

/**
 * Orders answers for a report: wrong ones first, then unjudged ones, then right ones; among equals
 * the lowest margin or reward first, and the order of the data.
 */
export function wrongFirst<S extends JudgedSample>(samples: readonly S[]): S[] {
  const rank = ({ correct }: S) => correct === false ? 0 : correct === null ? 1 : 2;
  return samples.toSorted((a, b) => rank(a) - rank(b) || worth(a) - worth(b));
}

/**
 * Chooses the answers that a page shows: wrong ones first, each type in turn, and some right ones.
 *
 * @param samples all answers, in the order of the data
 * @returns in the order of {@linkcode wrongFirst}
 */
export function chooseAnswers<S extends JudgedSample>(samples: readonly S[]): S[] {
  const ordered = wrongFirst(samples);
  const wrong = inTurn(ordered.filter(({ correct }) => correct === false), WRONG_SHOWN);
  const others = ordered.filter(({ correct }) => correct !== false);
  return wrongFirst([...wrong, ...inTurn(others, RIGHT_SHOWN + WRONG_SHOWN - wrong.length)]);
}
