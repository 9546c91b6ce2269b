import { assert, assertEquals, assertRejects } from "@std/assert";
import { dryRunLines } from "../../../src/train/dry_run/report.ts";
import { dryRunDPO } from "../../../src/train/dpo/dry_run.ts";
import { LORA, tinyConfig } from "./tiny_dpo.ts";

Deno.test("a dry run of DPO runs the longest pairs once and estimates their memory", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const overrides of [[], LORA]) {
      const config = tinyConfig([
        ...overrides,
        `training.output_dir=${JSON.stringify(`${folder}/run`)}`,
        "training.per_device_train_batch_size=16",
      ]);
      // Of one block, the last, nearly nothing is kept: no model to estimate by.
      Object.assign(config.model.vlm_config, { vit_n_blocks: 2, lm_n_blocks: 2 });
      const report = await dryRunDPO(config, { backend: "wasm" });
      assertEquals(report.batch.rows, 16);
      assertEquals(report.batch.tiles, 16);
      assert(Number.isFinite(report.loss) && report.gradNorm > 0);
      assertEquals(report.examples, { train: 9000, evaluation: 900 });
      const ratio = report.estimate.pass / report.measured.pass;
      assert(ratio > 0.85 && ratio < 1.15, `estimated / measured: ${ratio}`);
      assert(dryRunLines(report).some((line) => line.includes("16 rows")));
    }
    // Nothing is written.
    assertEquals([...Deno.readDirSync(folder)], []);
    const frozen = tinyConfig();
    // A file that says so is turned down before.
    Object.assign(frozen.training, { lr_mp: 0, lr_vision_backbone: 0, lr_language_backbone: 0 });
    await assertRejects(
      () => dryRunDPO(frozen, { backend: "wasm" }),
      Error,
      "every learning rate is 0",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a dry run of DPO on a stream counts the frozen copy that is its reference", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/pairs.jsonl`,
      ["red", "blue", "green"].map((chosen) =>
        JSON.stringify({ prompt: "Which colour?", chosen, rejected: "none", images: [] })
      ).join("\n"),
    );
    const run = (overrides: string[]) =>
      dryRunDPO(
        tinyConfig([
          ...overrides,
          `dataset.train_data_path=${folder}/pairs.jsonl`,
          `dataset.eval_data_path=${folder}/pairs.jsonl`,
          "training.max_steps=2",
        ]),
        { backend: "wasm" },
      );
    const streamed = await run(["dataset.streaming=true"]);
    assertEquals(streamed.estimate.reference, 4 * streamed.trained);
    assertEquals((await run([])).estimate.reference, 0);
    assertEquals((await run(["dataset.streaming=true", ...LORA])).estimate.reference, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
