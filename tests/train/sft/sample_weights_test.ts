import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { largestDifference } from "../largest_difference.ts";
import { shapeRows, tinySFT } from "./tiny_sft.ts";

const STEP = [
  "dataset.split_turns=false",
  "training.per_device_train_batch_size=4",
  "training.gradient_accumulation_steps=1",
];
const WEIGHED = [...STEP, "dataset.weight_column=weight"];
const weighed = (weights: readonly (number | string)[]) =>
  shapeRows(4).map((row, i) => ({ ...row, weight: weights[i % weights.length] }));

Deno.test("equal weights of any size change nothing", async () => {
  await using plain = await tinySFT(STEP);
  await using heavy = await tinySFT(WEIGHED, { rows: weighed([2.5]) });
  const [a, b] = [await plain.gradients(), await heavy.gradients()];
  assertAlmostEquals(a.loss, b.loss, 1e-5);
  assert(largestDifference(a.gradients, b.gradients) < 1e-4);
});

Deno.test("a row of weight 0 is as if it were not there; weight 2 counts as two rows", async () => {
  const rows = weighed([1]);
  await using without = await tinySFT(STEP, { rows: rows.slice(0, 2) });
  await using zero = await tinySFT(WEIGHED, { rows: weighed([1, 1, 0, "0"]) });
  const [a, b] = [await without.gradients(), await zero.gradients()];
  assertAlmostEquals(a.loss, b.loss, 1e-5);
  assert(largestDifference(a.gradients, b.gradients) < 1e-4);

  await using twice = await tinySFT(STEP, { rows: [rows[0], rows[0], rows[1]] });
  await using two = await tinySFT(WEIGHED, {
    rows: [{ ...rows[0], weight: 2 }, { ...rows[1], weight: 1 }],
  });
  const [c, d] = [await twice.gradients(), await two.gradients()];
  assertAlmostEquals(c.loss, d.loss, 1e-5);
  assert(largestDifference(c.gradients, d.gradients) < 1e-4);
});

Deno.test("k micro-batches of weighed rows give the gradient of one batch; the mean is told", async () => {
  const rows = weighed([0.5, 3, 1, 0]);
  await using one = await tinySFT(WEIGHED, { rows });
  await using four = await tinySFT([
    ...WEIGHED,
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=4",
  ], { rows });
  const [a, b] = [await one.gradients(), await four.gradients()];
  assertAlmostEquals(a.loss, b.loss, 1e-5);
  assert(largestDifference(a.gradients, b.gradients) < 1e-4);
  await one.trainer.train();
  const told = one.metrics().find((line) => "sample_weight" in line);
  assertEquals(told?.sample_weight, 4.5 / 4);
});

Deno.test("a row whose weight is no number is skipped with the reason", async () => {
  await using run = await tinySFT(WEIGHED, { rows: weighed([1, -1, 1, 1]) });
  let message = "";
  await run.gradients().catch((error) => message = String(error));
  assert(message.includes("the weight in column weight is -1"), message);
});
