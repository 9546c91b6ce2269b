import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import {
  type RangePoint,
  RangeTest,
  rateOfStep,
  suggestRate,
} from "../../../src/train/lr_finder/range_test.ts";

const RANGE = { lowest: 1e-7, highest: 1, steps: 100 };

/** A test whose losses are a function of log10 of the rate. */
function measured(loss: (log: number, step: number) => number): RangeTest {
  const test = new RangeTest(RANGE);
  for (let step = 0;; step++) {
    if (!test.add(loss(Math.log10(rateOfStep(step, RANGE)), step))) return test;
  }
}

/** 2 up to 1e-5, falls to 1 at 1e-2 with its middle at 10^-3.5, and explodes above. */
const typical = (log: number) =>
  1 + 1 / (1 + Math.exp(4 * (log + 3.5))) + (log > -2 ? (log + 2) ** 2 * 8 : 0);

Deno.test("rateOfStep() grows by a constant factor from the lowest to the highest rate", () => {
  assertAlmostEquals(rateOfStep(0, RANGE), 1e-7, 1e-16);
  assertAlmostEquals(rateOfStep(99, RANGE), 1, 1e-12);
  const factors = [1, 40, 99].map((i) => rateOfStep(i, RANGE) / rateOfStep(i - 1, RANGE));
  for (const factor of factors) assertAlmostEquals(factor, 10 ** (7 / 99), 1e-9);
});

Deno.test("RangeTest smooths as a mean of the losses so far", () => {
  const test = new RangeTest({ ...RANGE, steps: 20 });
  const losses = [3, 1, 2];
  for (const loss of losses) assert(test.add(loss));
  assertAlmostEquals(test.points[0].smoothed, 3, 1e-12);
  // Weights 0.81, 0.9 and 1, by hand.
  assertAlmostEquals(test.points[2].smoothed, (0.81 * 3 + 0.9 * 1 + 2) / (0.81 + 0.9 + 1), 1e-12);
});

Deno.test("a typical test stops where the loss diverges, and suggests a rate before the lowest loss", () => {
  const test = measured(typical);
  assert(test.diverged && test.points.length < 100);
  const { rate, steepest, lowestLossAt } = suggestRate(test.points);
  // The smoothed curve follows by some steps, each of which is a factor of 1.18.
  assert(steepest! > 10 ** -3.6 && steepest! < 10 ** -2.8, String(steepest));
  assert(lowestLossAt! > 1e-3 && lowestLossAt! < 10 ** -1, String(lowestLossAt));
  assertEquals(rate, Math.min(steepest!, lowestLossAt! / 10));
});

Deno.test("a loss that is not finite ends the test and is no point of it", () => {
  const test = measured((log) => log > -3 ? NaN : typical(log));
  assert(test.diverged);
  assert(test.points.every(({ loss }) => Number.isFinite(loss)));
  assert(test.points.at(-1)!.rate <= 1e-3);
});

Deno.test("there is no suggestion if the loss does not fall by more than it jumps", () => {
  const suggested = (points: readonly RangePoint[]) => suggestRate(points).rate;
  assertEquals(suggested(measured(() => 2).points), null);
  assertEquals(suggested(measured((log) => 2 + 0.1 * (log + 7)).points), null, "it rises");
  // Falls by 0.1 and jumps by 1 up and down.
  const noisy = (log: number, step: number) => 2 - 0.1 / 7 * (log + 7) + (step % 2 === 0 ? 1 : -1);
  assertEquals(suggested(measured(noisy).points), null);
  assert(suggested(measured((log, step) => typical(log) + (step % 2 === 0 ? 0.05 : -0.05)).points));
  assertEquals(suggested([]), null);
});
