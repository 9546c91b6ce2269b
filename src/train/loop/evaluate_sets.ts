/**
 * Evaluation of a mixture: each data set on its own, and all of them together.
 *
 * @module
 */
import type { Dataset } from "../../data/dataset.ts";
import type { EncodedImage } from "../../data/rows/image_cell.ts";
import type { StreamingDataset } from "../../data/streaming_dataset.ts";
import type { EvaluationOutcome } from "./training_method.ts";

/** Held-out examples. */
export type HeldOutDataset<E extends { readonly images: readonly EncodedImage[] }> =
  | Dataset<E>
  | StreamingDataset<E>;

/** What was found on one data set. */
export interface SetOutcome extends EvaluationOutcome {
  /** Examples that were measured. */
  readonly examples: number;
  /** What `eval_loss` is an average over: label tokens, pairs; default: the examples. */
  readonly lossWeight?: number;
}

/** A mean of values over sets; a value that one set lacks is left out. */
function weightedMean(outcomes: readonly SetOutcome[], key: string): number | null {
  let sum = 0, weights = 0;
  for (const { metrics, examples, lossWeight = examples } of outcomes) {
    if (metrics[key] === undefined) return null;
    const weight = key === "eval_loss" ? lossWeight : examples;
    sum += metrics[key] * weight;
    weights += weight;
  }
  return sum / weights;
}

/**
 * Measures held-out data. Of a mixture, each set's metrics are named `eval_SET_…`, as Trainer names
 * those of several evaluation sets; the metrics without a set's name are means of the sets',
 * weighted by their examples, and `eval_loss` by what it is an average over.
 *
 * @param dataset held out
 * @param evaluateOne measures one data set; null: none of its rows can be used
 * @returns null if no row can be used
 */
export async function evaluateSets<E extends { readonly images: readonly EncodedImage[] }>(
  dataset: HeldOutDataset<E>,
  evaluateOne: (dataset: HeldOutDataset<E>) => Promise<SetOutcome | null>,
): Promise<EvaluationOutcome | null> {
  const sets: readonly { name: string; dataset: HeldOutDataset<E> }[] = dataset.sets;
  if (sets.length === 0) return await evaluateOne(dataset);
  const found: { name: string; outcome: SetOutcome }[] = [];
  for (const { name, dataset } of sets) {
    const outcome = await evaluateOne(dataset);
    if (outcome !== null) found.push({ name, outcome });
  }
  if (found.length === 0) return null;
  const outcomes = found.map(({ outcome }) => outcome);
  const means = Object.keys(outcomes[0].metrics).flatMap((key): [string, number][] => {
    const mean = weightedMean(outcomes, key);
    return mean === null ? [] : [[key, mean]];
  });
  const ofSets = found.flatMap(({ name, outcome: { metrics } }) =>
    Object.entries(metrics).map(([key, value]): [string, number] => [
      key.replace(/^eval_/, `eval_${name}_`),
      value,
    ])
  );
  const seconds = outcomes.reduce((sum, { metrics }) => sum + (metrics.eval_runtime ?? 0), 0);
  const examples = outcomes.reduce((sum, one) => sum + one.examples, 0);
  return {
    metrics: {
      ...Object.fromEntries(means),
      eval_runtime: seconds,
      eval_samples_per_second: examples / seconds,
      ...Object.fromEntries(ofSets),
    },
    samples: outcomes.flatMap(({ samples }) => samples),
    ...(outcomes.every(({ all }) => all !== undefined)
      ? { all: outcomes.flatMap(({ all = [] }) => all) }
      : {}),
  };
}
