import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { largestDifference } from "../largest_difference.ts";
import { LORA, shapeRows, tinySFT } from "./tiny_sft.ts";

const STEP = ["training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=3"];

for (const sharePrefix of [true, false]) {
  Deno.test(`a step has the same loss and gradients by a budget as by rows, share_prefix ${sharePrefix}`, async () => {
    const settings = [...STEP, `training.share_prefix=${sharePrefix}`];
    await using byRows = await tinySFT(settings);
    await using byTokens = await tinySFT([...settings, "training.token_budget=90"]);
    const [rows, tokens] = [await byRows.gradients(), await byTokens.gradients()];
    assertAlmostEquals(tokens.loss, rows.loss, 1e-5);
    const difference = largestDifference(rows.gradients, tokens.gradients);
    assert(difference < 1e-4, `the gradients differ by ${difference}`);
    // The budget holds in the last step, and cuts it otherwise than rows do.
    assert(byTokens.method.lastBatchSize!.tokens <= 90, "a micro-batch is above the budget");
  });
}

Deno.test("a run by a budget resumes to the same bytes, dropout included", async () => {
  const settings = [...LORA, ...STEP, "training.token_budget=80", "training.save_steps=2"];
  await using whole = await tinySFT(settings, { rows: shapeRows(6) });
  await whole.trainer.train();
  const expected = await whole.weights();
  const { micro_batches } = whole.metrics().find((line) => "micro_batches" in line)!;
  assert(micro_batches > 1, `${micro_batches} micro-batches a step`);
  await using again = await tinySFT(settings, { rows: shapeRows(6), folder: whole.folder });
  await again.trainer.resume(`${whole.folder}/checkpoint-2`);
  await again.trainer.train();
  assertEquals(await again.weights(), expected);
});
