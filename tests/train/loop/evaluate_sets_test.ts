import { assertAlmostEquals, assertEquals } from "@std/assert";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { Dataset } from "../../../src/data/dataset.ts";
import { JoinedSkippedRows } from "../../../src/data/rows/skipped_rows.ts";
import { evaluateSets } from "../../../src/train/loop/evaluate_sets.ts";
import { shapeRows, tinySFT } from "../sft/tiny_sft.ts";

/** Two pictures in one set and one in the other; with `splitTurns` each question is an example. */
async function mixed(splitTurns: boolean) {
  const rows = shapeRows(3).slice(0, 3);
  const open = (part: typeof rows, name: string) =>
    datasetFromRows(part, { format: "vqa", name, splitTurns });
  const sets = [
    { name: "one", dataset: await open(rows.slice(0, 2), "one") },
    { name: "two", dataset: await open(rows.slice(2), "two") },
  ];
  const plan = {
    sets: Uint16Array.from([0, 0, 1]),
    draws: Uint32Array.from([0, 1, 0]),
  };
  const skipped = new JoinedSkippedRows(sets.map(({ dataset }) => dataset.skipped));
  return { rows, dataset: Dataset.mix(sets, plan, { name: "both", fingerprint: "f", skipped }) };
}

Deno.test("evaluateSets() names each set's metrics and weighs the means", async () => {
  const { dataset } = await mixed(false);
  const outcome = await evaluateSets(dataset, (one) =>
    Promise.resolve({
      metrics: { eval_loss: one.length!, eval_exact_match: one.length! === 2 ? 1 : 0 },
      samples: [],
      examples: one.length!,
      lossWeight: one.length === 2 ? 10 : 30,
    }));
  const { eval_runtime: _, eval_samples_per_second: __, ...metrics } = outcome!.metrics;
  assertEquals(metrics, {
    eval_loss: (2 * 10 + 1 * 30) / 40,
    eval_exact_match: 2 / 3,
    eval_one_loss: 2,
    eval_one_exact_match: 1,
    eval_two_loss: 1,
    eval_two_exact_match: 0,
  });
});

Deno.test("SFT's loss on a mixture is the loss of all its rows, and that of each set", async () => {
  const { rows, dataset } = await mixed(true); // as the config of tinySFT()
  await using whole = await tinySFT(["training.eval_strategy=steps"], { rows, heldOut: rows });
  const all = (await whole.method.evaluate())!.metrics;
  const { parts, options } = whole.method;
  const { SFTMethod } = await import("../../../src/train/sft/method.ts");
  const method = new SFTMethod({ ...parts, evalDataset: dataset }, options);
  const found = (await method.evaluate())!.metrics;
  await method.release();
  assertAlmostEquals(found.eval_loss, all.eval_loss, 1e-5);
  const one = new SFTMethod({ ...parts, evalDataset: dataset.sets[0].dataset }, options);
  const alone = await one.evaluate(); // a part of a mixture is a mixture of one
  await one.release();
  assertAlmostEquals(found.eval_one_loss, alone!.metrics.eval_loss, 1e-6);
});
