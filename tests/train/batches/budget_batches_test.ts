import { assert, assertEquals } from "@std/assert";
import { type BatchUnit, budgetBatches } from "../../../src/train/batches/budget_batches.ts";

const unit = (tokens: number, images = 1): BatchUnit<string> => ({
  examples: [`${tokens}/${images}`],
  tokens,
  images,
});

Deno.test("budgetBatches() keeps both budgets, every example, and the training order within a batch", () => {
  const units = Array.from({ length: 200 }, (_, i) => unit(1 + (i * 37) % 90, i % 4));
  const budget = { tokens: 100, images: 5 };
  const batches = budgetBatches(units, budget);
  const order = units.map(({ examples }) => examples[0]);
  assertEquals(batches.flat().sort(), [...order].sort());
  for (const batch of batches) {
    const sizes = batch.map((name) => name.split("/").map(Number));
    assert(sizes.reduce((sum, [tokens]) => sum + tokens, 0) <= 100);
    assert(sizes.reduce((sum, [, images]) => sum + images, 0) <= 5);
  }
  const total = units.reduce((sum, { tokens }) => sum + tokens, 0);
  // First fit decreasing needs at most 11/9 of the least number of bins, and 2/3 (here: the images).
  assert(batches.length <= Math.ceil(total / 100) * 11 / 9 + 1, `${batches.length} batches`);
});

Deno.test("one budget alone is enough; what exceeds it stands alone", () => {
  const units = [unit(50), unit(500), unit(30), unit(20)];
  assertEquals(budgetBatches(units, { tokens: 100, images: null }), [
    ["50/1", "30/1", "20/1"],
    ["500/1"],
  ]);
  assertEquals(budgetBatches(units, { tokens: null, images: 2 }), [["50/1", "500/1"], [
    "30/1",
    "20/1",
  ]]);
});

Deno.test("examples that share their pictures stay together", () => {
  const shared: BatchUnit<string> = { examples: ["a", "b", "c"], tokens: 60, images: 1 };
  assertEquals(budgetBatches([unit(50), shared, unit(40)], { tokens: 100, images: null }), [
    ["50/1"],
    ["a", "b", "c", "40/1"],
  ]);
});
