import { assert, assertAlmostEquals } from "@std/assert";
import { examplesInOrder } from "../../../src/train/batches/made_ahead.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { LORA, tinyConfig, type TinyRun, tinyRun } from "./tiny_dpo.ts";

/** TRL's definition: every logit of every answer's token, each answer alone. */
async function expected({ method, prepared: { model } }: TinyRun, rows: readonly number[]) {
  const sums = { chosen: 0, rejected: 0 }, tokens = { chosen: 0, rejected: 0 };
  for await (const placed of examplesInOrder(method.parts.dataset, false)) {
    if (!rows.includes(placed.row!)) continue;
    const pair = await method.parts.maker.make(placed);
    for (const side of ["chosen", "rejected"] as const) {
      const { inputIds, labels } = pair[side];
      const { logits } = model.forward({
        inputIds: [Array.from(inputIds)],
        images: [pair.images],
        returnLogits: true,
      });
      const means = logits!.mean(-1).dataSync();
      Array.from(labels).forEach((label, t) => {
        if (label === -100) return;
        sums[side] += means[t];
        tokens[side]++;
      });
      logits!.dispose();
    }
  }
  return { chosen: sums.chosen / tokens.chosen, rejected: sums.rejected / tokens.rejected };
}

const trainedRows = ({ method }: TinyRun) =>
  (method.describeLastBatch() as { row: number }[][]).flat().map(({ row }) => row);

for (
  const [name, overrides] of [
    ["everything", []],
    ["LoRA on a packed model", LORA],
    ["the losses that sort over the batch", ["dpo.loss_type=[aot]"]],
  ] as const
) {
  Deno.test(`logits/chosen and logits/rejected are TRL's means of all logits: ${name}`, async () => {
    // Padding, several micro-batches, and a step in between, so that the weights are not fresh.
    using run = await tinyRun(tinyConfig(["training.learning_rate=5e-2", ...overrides]));
    await run.update();
    const { outcome: { metrics } } = await run.gradients();
    const { chosen, rejected } = await expected(run, trainedRows(run));
    assert(Math.abs(chosen - rejected) > 1e-4, "the sides differ");
    assertAlmostEquals(metrics!["logits/chosen"], chosen, 1e-5);
    assertAlmostEquals(metrics!["logits/rejected"], rejected, 1e-5);

    const evaluated = (await run.method.evaluate())!.metrics;
    const all = await expected(run, Array.from({ length: 100 }, (_, row) => row));
    assertAlmostEquals(evaluated["eval_logits/chosen"], all.chosen, 1e-5);
    assertAlmostEquals(evaluated["eval_logits/rejected"], all.rejected, 1e-5);
  });
}

gpuTest("logits/chosen and logits/rejected are the same on a GPU", async () => {
  using there = await tinyRun(tinyConfig(LORA), { backend: "webgpu" });
  const a = (await there.gradients()).outcome.metrics!;
  using here = await tinyRun(tinyConfig(LORA));
  const b = (await here.gradients()).outcome.metrics!;
  for (const name of ["logits/chosen", "logits/rejected"]) {
    assertAlmostEquals(a[name], b[name], 1e-5);
  }
});
