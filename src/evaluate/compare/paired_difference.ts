/**
 * How far two models differ on the same questions, and how sure that is.
 *
 * @module
 */
import { unitsOf, valueOf } from "../benchmarks/totals.ts";
import { bootstrapInterval } from "../metrics/bootstrap.ts";
import type { MeasuredMetric } from "./measurement.ts";

/** The difference of a metric between two models. */
export interface PairedDifference {
  /** The second model's value minus the first's. */
  readonly difference: number;
  /** 95 % interval of the difference, questions resampled for both models at once. */
  readonly low: number;
  readonly high: number;
  /** Questions that the second model scores higher on. */
  readonly gained: number;
  /** Questions that it scores lower on. */
  readonly lost: number;
  /** Exact McNemar test, two-sided; null if a score is neither 0 nor 1. */
  readonly pValue: number | null;
}

/**
 * McNemar's exact test: how likely so uneven a split of the changed questions is if each change goes
 * either way with the same chance.
 *
 * p = min(1, 2 · Σ_{k ≤ min(gained, lost)} C(n, k) / 2^n), n = gained + lost.
 *
 * Source: McNemar, "Note on the sampling error of the difference between correlated proportions"
 * (1947), in its exact binomial form.
 *
 * @returns two-sided p-value; 1 if nothing changed
 */
export function mcNemarTest(gained: number, lost: number): number {
  const n = gained + lost;
  let logTerm = -n * Math.LN2; // log of C(n, 0) / 2^n
  let sum = 0;
  for (let k = 0; k <= Math.min(gained, lost); k++) {
    sum += Math.exp(logTerm);
    logTerm += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * sum);
}

/**
 * Compares two models on the same questions.
 *
 * @param first the baseline
 * @param second in the same order of questions
 */
export function pairedDifference(first: MeasuredMetric, second: MeasuredMetric): PairedDifference {
  const { form } = first;
  const [a, b] = [unitsOf(form, first.scores), unitsOf(form, second.scores)];
  const difference = valueOf(form, b) - valueOf(form, a);
  const interval = a.length === 0 ? { low: 0, high: 0 } : bootstrapInterval(a.length, (drawn) => {
    const places = Array.from(drawn);
    return valueOf(form, places.map((i) => b[i])) - valueOf(form, places.map((i) => a[i]));
  });
  let gained = 0, lost = 0;
  first.scores.forEach(({ score }, i) => {
    if (second.scores[i].score > score) gained++;
    if (second.scores[i].score < score) lost++;
  });
  const binary = [...first.scores, ...second.scores].every(({ score }) =>
    score === 0 || score === 1
  );
  return {
    difference,
    ...interval,
    gained,
    lost,
    pValue: binary ? mcNemarTest(gained, lost) : null,
  };
}
