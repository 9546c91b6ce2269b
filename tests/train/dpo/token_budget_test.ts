import { assert, assertAlmostEquals } from "@std/assert";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_dpo.ts";

Deno.test("a step of pairs has the same loss and gradients by a budget as by rows", async () => {
  using byRows = await tinyRun(tinyConfig());
  using byTokens = await tinyRun(tinyConfig(["training.token_budget=90"]));
  const [rows, tokens] = [await byRows.gradients(), await byTokens.gradients()];
  assertAlmostEquals(tokens.loss, rows.loss, 1e-5);
  const difference = largestDifference(rows.gradients, tokens.gradients);
  assert(difference < 1e-4, `the gradients differ by ${difference}`);
  assert(byTokens.method.lastBatchSize!.tokens <= 90, "a micro-batch is above the budget");
});
