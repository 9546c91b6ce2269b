/**
 * The number of a benchmark from the scores of its questions, with an interval, and by group.
 *
 * @module
 */
import { bootstrapInterval } from "../metrics/bootstrap.ts";
import { yesNoScores } from "../metrics/yes_no.ts";
import type { TotalForm } from "./benchmark.ts";

/** A scored question of a benchmark. */
export interface ScoredQuestion {
  readonly score: number;
  readonly group: string | null;
  readonly subgroup: string | null;
  readonly answer: string;
  readonly answers: readonly string[];
}

/** A number with the interval that holds it in 95 of 100 data sets of this kind. */
export interface Total {
  /** Questions that count. */
  readonly questions: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** The number of a benchmark. */
export interface BenchmarkTotals {
  readonly overall: Total;
  /** By group, in alphabetical order; for MME the points of each category and of both halves. */
  readonly byGroup: ReadonlyMap<string, Total>;
  /** Precision, recall, F1 and the share of yes, for `yes_no`. */
  readonly further: Readonly<Record<string, number>>;
}

/** MME's categories that make up perception; the others are cognition. */
const PERCEPTION = new Set([
  ..."existence count position color posters".split(" "),
  ..."celebrity scene landmark artwork OCR".split(" "),
]);

/** Questions that are drawn together when data sets are drawn: one, or a pair of MME. */
export type Unit = readonly ScoredQuestion[];

const mean = (values: readonly number[]) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Lists by key, in the order of the keys' first appearance. */
export function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** MME's points of a pair: the share of right answers and a bonus if both are right, 0 … 200. */
function pairPoints(pair: Unit): number {
  const sum = pair.reduce((total, { score }) => total + score, 0);
  return 100 * sum / pair.length + (sum === 2 ? 100 : 0);
}

/** The value of a total over units. */
export function valueOf(form: TotalForm, units: readonly Unit[]): number {
  if (form === "mme") {
    const categories = grouped(units, ([{ group }]) => group ?? "");
    return [...categories.values()].reduce((sum, pairs) => sum + mean(pairs.map(pairPoints)), 0);
  }
  const questions = units.flat();
  if (form === "mean_of_subgroups") {
    const parts = grouped(questions, ({ subgroup }) => subgroup ?? "");
    return mean([...parts.values()].map((part) => mean(part.map(({ score }) => score))));
  }
  return mean(questions.map(({ score }) => score));
}

/** What is drawn together; a question of MME whose partner was not asked is left out. */
export function unitsOf(form: TotalForm, questions: readonly ScoredQuestion[]): Unit[] {
  if (form !== "mme") return questions.map((question) => [question]);
  const pairs = grouped(questions, ({ group, subgroup }) => JSON.stringify([group, subgroup]));
  return [...pairs.values()].filter((pair) => pair.length === 2);
}

function totalOf(form: TotalForm, units: readonly Unit[]): Total {
  const questions = units.reduce((sum, unit) => sum + unit.length, 0);
  if (units.length === 0) return { questions, value: 0, low: 0, high: 0 };
  const value = valueOf(form, units);
  const interval = bootstrapInterval(
    units.length,
    (drawn) => valueOf(form, Array.from(drawn, (i) => units[i])),
  );
  return { questions, value, ...interval };
}

/**
 * The number of a benchmark.
 *
 * @param questions scored, in any order
 */
export function benchmarkTotals(
  form: TotalForm,
  questions: readonly ScoredQuestion[],
): BenchmarkTotals {
  const units = unitsOf(form, questions);
  const groups = grouped(units.filter(([{ group }]) => group !== null), ([{ group }]) => group!);
  const byGroup = new Map(
    [...groups].sort(([a], [b]) => a < b ? -1 : 1).map((
      [name, part],
    ) => [name, totalOf(form, part)]),
  );
  if (form === "mme") {
    const half = (perception: boolean) =>
      units.filter(([{ group }]) => PERCEPTION.has(group ?? "") === perception);
    byGroup.set("mme_perception_score", totalOf(form, half(true)));
    byGroup.set("mme_cognition_score", totalOf(form, half(false)));
  }
  const further = form === "yes_no"
    ? yesNoScores(questions.map(({ answer, answers }) => ({
      prediction: answer,
      answer: answers[0],
    })))
    : {};
  return { overall: totalOf(form, units), byGroup, further: { ...further } };
}
