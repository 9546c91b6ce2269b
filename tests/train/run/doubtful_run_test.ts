/** Runs whose model turns out to be no better than before: what they say at their end. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { DPOMethod } from "../../../src/train/dpo/method.ts";
import { FrozenReference } from "../../../src/train/dpo/reference.ts";
import { rewardConcern } from "../../../src/train/grpo/run.ts";
import { runSFT } from "../../../src/train/sft/run.ts";
import * as dpo from "../dpo/tiny_dpo.ts";
import { tinyConfig } from "../sft/tiny_sft.ts";

Deno.test("SFT that is no better than answers without the picture ends with doubts", async () => {
  const folder = await Deno.makeTempDir({ prefix: "doubtful " });
  try {
    const config = tinyConfig([
      "dataset.max_samples=24",
      "training.max_steps=2",
      "training.learning_rate=1e-9",
      "training.lr_mp=1e-9",
      "training.eval_strategy=steps",
      "training.eval_steps=100",
      `training.output_dir=${JSON.stringify(`${folder}/run`)}`,
      `save.save_model_path=${JSON.stringify(`${folder}/model`)}`,
    ]);
    const { status } = await runSFT(config, { backend: "wasm" });
    assertEquals(status, "done");
    const report = await Deno.readTextFile(`${folder}/run/report.html`);
    const [head] = report.split("<main>");
    assertStringIncludes(head.slice(head.indexOf("<body>")), "! finished, with doubts");
    assertStringIncludes(head.slice(head.indexOf("<body>")), "does not use the picture");
    const last = (await Deno.readTextFile(`${folder}/run/metrics.jsonl`)).trim().split("\n").at(-1);
    assertEquals(JSON.parse(last!), { step: 2, concerns: "no_better_than_blind" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("DPO whose held-out pairs are the other way round is worse than before", async () => {
  using run = await dpo.tinyRun(dpo.tinyConfig(), {
    reference: ({ model }, groups) => new FrozenReference(model, groups),
  });
  const swapped = dpo.shapeRows().map((row) => ({
    ...row,
    chosen: row.rejected,
    rejected: row.chosen,
  }));
  const evalDataset = await datasetFromRows(swapped, { format: "preference", name: "swapped" });
  const { parts, options } = run.method;
  const method = new DPOMethod({ ...parts, evalDataset }, options);
  for (let step = 0; step < 12; step++) await run.update();
  await method.evaluate();
  assertEquals(method.counts?.concern?.name, "worse_than_before");
  await run.method.evaluate();
  assertEquals(run.method.counts?.concern, null);
});

Deno.test("GRPO whose greedy answers earn less than before has a concern", () => {
  const of = (before: number, after: number) =>
    rewardConcern({ eval_reward: before }, { eval_reward: after })?.name ?? null;
  assertEquals([of(0.5, 0.4), of(0.5, 0.49), of(0.5, 0.8)], ["worse_than_before", null, null]);
  assertEquals([of(-2, -3), of(-2, -1)], ["worse_than_before", null]);
});
