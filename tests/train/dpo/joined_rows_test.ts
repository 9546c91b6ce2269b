/** Micro-batches of pairs of unlike lengths, joined without padding. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { DPO_LOSS_TYPES } from "../../../src/losses/dpo.ts";
import {
  largestDifference,
  LORA,
  meanOfMicroBatches,
  shapeRows,
  tinyConfig,
  tinyRun,
} from "./tiny_dpo.ts";

/** Every second prompt is four times as long. */
const unlikeRows = (count = 8) =>
  shapeRows().slice(0, count).map((row, i) =>
    i % 2 === 0 ? row : { ...row, prompt: `${"What is this? ".repeat(9)}${row.prompt}` }
  );

const SMOOTHED = "dpo.label_smoothing=0.1";
const sizes = (batch: number, accumulation: number) => [
  `training.per_device_train_batch_size=${batch}`,
  `training.gradient_accumulation_steps=${accumulation}`,
];

for (const share of [true, false]) {
  for (const loss of share ? DPO_LOSS_TYPES : ["sigmoid", "aot", "sft"]) {
    const how = share ? "shared prompts" : "separate rows";
    Deno.test(`DPO with ${loss}, ${how}: joined rows have the gradient of pairs by themselves`, async () => {
      const settings = [...LORA, SMOOTHED, `dpo.loss_type=[${loss}]`];
      const shares = `training.share_prefix=${share}`;
      using joined = await tinyRun(tinyConfig([...settings, shares, ...sizes(8, 1)]), {
        rows: unlikeRows(),
      });
      using alone = await tinyRun(tinyConfig([...settings, shares, ...sizes(1, 8)]), {
        rows: unlikeRows(),
      });
      const a = await joined.gradients(), b = await alone.gradients();
      assertAlmostEquals(a.loss, b.loss, 1e-5 * Math.max(1, Math.abs(b.loss)));
      assert(largestDifference(a.gradients, b.gradients) < 2e-4);
      for (const [name, value] of Object.entries(b.outcome.metrics!)) {
        assertAlmostEquals(a.outcome.metrics![name], value, 1e-4, name);
      }
      assertEquals(a.outcome.tokens, b.outcome.tokens);
      assertEquals(a.outcome.padding, 0);
    });
  }
}

Deno.test("DPO with micro_batch divides by the tokens of a micro-batch", async () => {
  using run = await tinyRun(
    tinyConfig([
      ...LORA,
      ...sizes(8, 2),
      "training.loss_reduction=micro_batch",
      "dpo.loss_type=[sft]",
    ]),
    { rows: unlikeRows(16).map((row) => ({ ...row, chosen: row.prompt!.toString() })) },
  );
  const { loss } = await run.gradients();
  assertAlmostEquals(loss, await meanOfMicroBatches(run), 1e-5);
  assertEquals(run.method.lastBatchSize!.rows, 8);
});

Deno.test("DPO's evaluation of joined rows counts every pair once", async () => {
  const own = (batch: number) => [...LORA, `training.per_device_eval_batch_size=${batch}`];
  using joined = await tinyRun(tinyConfig(own(8)), { rows: unlikeRows() });
  using alone = await tinyRun(tinyConfig(own(1)), { rows: unlikeRows() });
  const a = (await joined.method.evaluate())!, b = (await alone.method.evaluate())!;
  assertEquals(joined.method.counts!.pairs, 8);
  for (const [name, value] of Object.entries(b.metrics)) {
    if (/runtime|per_second/.test(name)) continue;
    assertAlmostEquals(a.metrics[name], value, 1e-4, name);
  }
  const questions = (samples: typeof a.samples) => samples.map(({ question }) => question).sort();
  assertEquals(questions(a.samples), questions(b.samples));
});
