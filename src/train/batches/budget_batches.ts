/**
 * Micro-batches by a budget of tokens and pictures: the examples of an optimizer step go into as few
 * micro-batches as fit, so that short examples fill one together. Rows are joined with exact masks,
 * so that it does not matter which examples share a micro-batch; a step's loss is an average over
 * all of its tokens, and is the same however they are cut.
 *
 * Source: the knapsack packing of nanoVLM (`data/advanced_datasets.py`, `max_images_per_knapsack`),
 * which packs a buffer of the data instead; here a step keeps its examples, so that steps, epochs
 * and checkpoints are those of batches by rows.
 *
 * @module
 */

/** Most of a micro-batch. */
export interface BatchBudget {
  /** Tokens; null: any number. */
  readonly tokens: number | null;
  /** Pictures; null: any number. */
  readonly images: number | null;
}

/** Examples that stay in one micro-batch, since they share their pictures. */
export interface BatchUnit<X> {
  readonly examples: readonly X[];
  readonly tokens: number;
  readonly images: number;
}

/** A micro-batch that is being filled. */
interface Bin<X> {
  readonly units: { readonly unit: BatchUnit<X>; readonly place: number }[];
  tokens: number;
  images: number;
}

/**
 * Fills micro-batches: the longest unit first, each into the first micro-batch that has room (first
 * fit decreasing). A unit that is above the budget by itself gets a micro-batch of its own.
 *
 * @param units in training order
 * @param budget of a micro-batch
 * @returns examples of each micro-batch; both in training order
 *
 * @example Three short examples beside a long one
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { budgetBatches } from "./budget_batches.ts";
 *
 * const units = [30, 90, 40, 20].map((tokens) => ({ examples: [tokens], tokens, images: 1 }));
 * assertEquals(budgetBatches(units, { tokens: 100, images: null }), [[30, 40, 20], [90]]);
 * ```
 */
export function budgetBatches<X>(units: readonly BatchUnit<X>[], budget: BatchBudget): X[][] {
  const { tokens: mostTokens, images: mostImages } = budget;
  const fits = (bin: Bin<X>, unit: BatchUnit<X>) =>
    (mostTokens === null || bin.tokens + unit.tokens <= mostTokens) &&
    (mostImages === null || bin.images + unit.images <= mostImages);
  const placed = units.map((unit, place) => ({ unit, place }));
  placed.sort((a, b) => b.unit.tokens - a.unit.tokens || a.place - b.place);
  const bins: Bin<X>[] = [];
  for (const one of placed) {
    let bin = bins.find((bin) => fits(bin, one.unit));
    if (bin === undefined) bins.push(bin = { units: [], tokens: 0, images: 0 });
    bin.units.push(one);
    bin.tokens += one.unit.tokens;
    bin.images += one.unit.images;
  }
  for (const { units } of bins) units.sort((a, b) => a.place - b.place);
  bins.sort((a, b) => a.units[0].place - b.units[0].place);
  return bins.map(({ units }) => units.flatMap(({ unit }) => unit.examples));
}
