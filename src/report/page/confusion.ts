/**
 * Which answers a model gives in place of which: a confusion table.
 *
 * @module
 */

/** An answer and the right one. */
export interface JudgedAnswer {
  readonly expected: string;
  readonly answer: string;
  /** Kind of question; null if the data has none. */
  readonly type: string | null;
}

/** How often each answer was given to questions of each expected answer. */
export interface Confusion {
  /** The kind of question; null: all questions. */
  readonly type: string | null;
  /** Headings of the rows: expected answers in alphabetical order. */
  readonly expected: readonly string[];
  /** Headings of the columns: the same answers, and `other` if another one was given. */
  readonly given: readonly string[];
  /** Row by row. */
  readonly counts: readonly (readonly number[])[];
}

/** A table with more answers is not read. */
const MOST_ANSWERS = 10;
/** Share of the questions that a table's rows must cover. */
const COVERED = 0.8;
/** The column of answers that no question of the table expects. */
const OTHER = "other";

const fold = (text: string): string => text.trim().toLowerCase();

/** The answer itself, if it was asked for in tags, as the built-in reward `format` wants it. */
const answerOf = (text: string): string => /<answer>(.*?)<\/answer>/s.exec(text)?.[1] ?? text;

function confusionOf(type: string | null, answers: readonly JudgedAnswer[]): Confusion | null {
  const frequency = new Map<string, number>();
  for (const { expected } of answers) {
    frequency.set(fold(expected), (frequency.get(fold(expected)) ?? 0) + 1);
  }
  const kept = [...frequency].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
    .slice(0, MOST_ANSWERS)
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  const covered = kept.reduce((sum, [, count]) => sum + count, 0);
  // Answers that do not come back, such as sentences, are not mixed up with each other.
  if (kept.length < 2 || covered < COVERED * answers.length || covered < 2 * kept.length) {
    return null;
  }
  const place = new Map(kept.map(([answer], i) => [answer, i]));
  const counts = kept.map(() => new Array<number>(kept.length + 1).fill(0));
  for (const { expected, answer } of answers) {
    const row = place.get(fold(expected));
    if (row !== undefined) counts[row][place.get(fold(answerOf(answer))) ?? kept.length]++;
  }
  const expected = kept.map(([answer]) => answer);
  const hasOthers = counts.some((row) => row[kept.length] > 0);
  return {
    type,
    expected,
    given: hasOthers ? [...expected, OTHER] : expected,
    counts: hasOthers ? counts : counts.map((row) => row.slice(0, -1)),
  };
}

/**
 * Makes a table for each kind of question, or one table if the data has no kinds. Answers are trimmed
 * and case-folded, as exact match does it.
 *
 * @param answers all of an evaluation
 * @returns none if the answers are too many different ones
 */
export function confusions(answers: readonly JudgedAnswer[]): Confusion[] {
  const byType = new Map<string | null, JudgedAnswer[]>();
  for (const judged of answers) {
    const list = byType.get(judged.type) ?? [];
    byType.set(judged.type, list);
    list.push(judged);
  }
  const types = [...byType].sort(([a], [b]) => (a ?? "") < (b ?? "") ? -1 : 1);
  return types.flatMap(([type, list]) => confusionOf(type, list) ?? []);
}

/** The pairs that are mixed up most often, in words: `circle for square 12 times`. */
export function frequentMistakes({ expected, given, counts }: Confusion, most = 3): string[] {
  const mistakes = expected.flatMap((right, i) =>
    given.flatMap((wrong, j) =>
      i === j || counts[i][j] === 0 ? [] : [{ right, wrong, count: counts[i][j] }]
    )
  );
  return mistakes.sort((a, b) => b.count - a.count).slice(0, most).map(({ right, wrong, count }) =>
    `“${wrong || "nothing"}” for “${right || "nothing"}” ${count} time${count === 1 ? "" : "s"}`
  );
}
