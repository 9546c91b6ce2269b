import { assertEquals } from "@std/assert";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { DPOMethod } from "../../../src/train/dpo/method.ts";
import { GRPOEvaluator } from "../../../src/train/grpo/evaluation.ts";
import { GRPOMethod } from "../../../src/train/grpo/method.ts";
import * as dpo from "../dpo/tiny_dpo.ts";
import * as grpo from "../grpo/tiny_grpo.ts";

const BROKEN = { bytes: new Uint8Array([1, 2, 3]), path: "broken.png" };

Deno.test("DPO tells which held-out rows it could not use, and counts data that are both once", async () => {
  using run = await dpo.tinyRun(dpo.tinyConfig());
  const { parts, options } = run.method;
  const rows = dpo.shapeRows();
  const heldOut = await datasetFromRows([...rows, { ...rows[0], images: [BROKEN] }], {
    format: "preference",
    name: "held out",
  });
  const method = new DPOMethod({ ...parts, evalDataset: heldOut }, options);
  assertEquals(run.method.skippedRows().total, rows.length, "one data set in two roles");
  await method.evaluate();
  const { rows: skipped, total } = method.skippedRows();
  assertEquals([skipped.length, total], [1, 2 * rows.length + 1]);
  assertEquals(skipped[0].place.includes("held out"), true, skipped[0].place);
});

Deno.test("GRPO tells which held-out rows it could not use", async () => {
  using run = await grpo.tinyRun(grpo.tinyConfig());
  const { parts, options } = run.method;
  const rows = grpo.shapeRows();
  const heldOut = await datasetFromRows([...rows, { ...rows[0], images: [BROKEN] }], {
    format: "grpo",
    name: "held out",
  });
  const made = parts.evaluator!;
  const evaluator = new GRPOEvaluator({ ...made.parts, dataset: heldOut }, made.options);
  const method = new GRPOMethod({ ...parts, evaluator }, options);
  await method.evaluate();
  const { rows: skipped, total } = method.skippedRows();
  assertEquals([skipped.length, total], [1, 2 * rows.length + 1]);
});
