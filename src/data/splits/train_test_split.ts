/**
 * Which rows are held out if a data set has no evaluation data of its own.
 *
 * Source: `datasets.Dataset.train_test_split`, https://huggingface.co/docs/datasets/process#split
 *
 * @module
 */
import { RandomStream, shuffledIndices } from "../../random.ts";
import { numpyPermutation } from "./numpy_random.ts";

/**
 * `datasets`: the rows of Hugging Face's `train_test_split`. `legacy`: the rows of runs that began
 * before that rule, which resume with it.
 */
export type SplitRule = "datasets" | "legacy";

/** Positions of rows, from 0, by part and in the order of each part. */
export interface SplitPositions {
  readonly train: readonly number[];
  readonly test: readonly number[];
}

/**
 * Splits positions 0 … rows − 1. The test part has ⌈share · rows⌉ of them.
 *
 * @param rows how many there are
 * @param testShare between 0 and 1
 * @param seed a non-negative integer
 * @param rule which rows; see {@linkcode SplitRule}
 *
 * @example As `Dataset.train_test_split(test_size=0.2, seed=42)`
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { splitPositions } from "./train_test_split.ts";
 *
 * const { train, test } = splitPositions(10, 0.2, 42, "datasets");
 * assertEquals(test, [5, 6]);
 * assertEquals(train, [0, 7, 3, 2, 4, 9, 1, 8]);
 * ```
 */
export function splitPositions(
  rows: number,
  testShare: number,
  seed: number,
  rule: SplitRule,
): SplitPositions {
  const testRows = Math.ceil(testShare * rows);
  if (rule === "datasets") {
    const order = numpyPermutation(rows, seed);
    return { test: [...order.subarray(0, testRows)], train: [...order.subarray(testRows)] };
  }
  const order = shuffledIndices(rows, new RandomStream(seed, "split"));
  const test = new Set(order.subarray(0, testRows));
  const all = [...Array(rows).keys()];
  return {
    test: all.filter((row) => test.has(row)),
    train: all.filter((row) => !test.has(row)),
  };
}

/**
 * Splits positions as {@linkcode splitPositions} with the rule `datasets`, but whole groups at a
 * time: groups are met in the order of that permutation, and one goes to the test part if it still
 * fits into its ⌈share · rows⌉ positions. If each group is one position, the parts are the same.
 *
 * @param groupOf the group of each position
 * @param testShare between 0 and 1
 * @param seed a non-negative integer
 *
 * @example Positions of a group stay together
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { splitGroupPositions } from "./train_test_split.ts";
 *
 * const { test } = splitGroupPositions([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], 0.2, 42);
 * assertEquals(test, [5, 4]);
 * ```
 */
export function splitGroupPositions(
  groupOf: readonly number[],
  testShare: number,
  seed: number,
): SplitPositions {
  const wanted = Math.ceil(testShare * groupOf.length);
  const order = [...numpyPermutation(groupOf.length, seed)];
  const sizes = new Map<number, number>();
  for (const position of order) {
    const group = groupOf[position];
    sizes.set(group, (sizes.get(group) ?? 0) + 1); // groups in the order of the permutation
  }
  const test = new Set<number>();
  let taken = 0;
  for (const [group, size] of sizes) {
    if (taken + size > wanted) continue;
    test.add(group);
    taken += size;
  }
  // No group is small enough: the smallest one, if something is left to train on.
  if (taken === 0 && sizes.size > 1) {
    test.add([...sizes].reduce((least, one) => one[1] < least[1] ? one : least)[0]);
  }
  return {
    test: order.filter((position) => test.has(groupOf[position])),
    train: order.filter((position) => !test.has(groupOf[position])),
  };
}
