import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import type { Row } from "../../../src/data/rows/row.ts";
import { batchRows, packBranches } from "../../../src/model/branches.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { largestDifference } from "../dpo/tiny_dpo.ts";
import { LORA, shapeRows, tinySFT } from "./tiny_sft.ts";

/** Six examples a step: three micro-batches of two, or one batch. */
const THREE = [
  "training.per_device_train_batch_size=2",
  "training.gradient_accumulation_steps=3",
];
const ONE = ["training.per_device_train_batch_size=6", "training.gradient_accumulation_steps=1"];

/** Answers of one to nine words, so that a mean of means is another number. */
function unevenRows(): Row[] {
  return shapeRows(9).map((row, i) => ({
    ...row,
    texts: [{ user: "What is it?", assistant: Array(1 + (i * 4) % 9).fill("red").join(" ") }],
  }));
}

/** One question of each picture. */
function oneQuestionRows(pictures: number): Row[] {
  const texts = [{ user: "What is it?", assistant: "a shape" }];
  return shapeRows(pictures).map((row) => ({ ...row, texts }));
}

for (const extra of [[], LORA, ["sft.loss_type=dft"]]) {
  const kind = extra === LORA ? " under LoRA" : extra.length > 0 ? ` with ${extra[0]}` : "";
  // Dropout draws by micro-batch.
  const settings = [...extra, ...(extra === LORA ? ["model.lora_config.lora_dropout=0"] : [])];
  Deno.test(`SFT${kind}: three micro-batches give loss and gradient of one batch`, async () => {
    const rows = unevenRows();
    await using parts = await tinySFT([...settings, ...THREE], { rows });
    const three = await parts.gradients();
    await using whole = await tinySFT([...settings, ...ONE], { rows });
    const one = await whole.gradients();
    assertAlmostEquals(three.loss, one.loss, 1e-5);
    assert(largestDifference(three.gradients, one.gradients) < 1e-4);
    assert([...one.gradients.values()].some((values) => values.some((value) => value !== 0)));
  });
}

Deno.test("SFT with loss_reduction micro_batch: the mean of the micro-batches' means", async () => {
  const rows = unevenRows();
  await using run = await tinySFT([...THREE, "training.loss_reduction=micro_batch"], { rows });
  const { loss, gradients } = await run.gradients();
  // The same examples in the same order, each micro-batch a step of its own.
  await using single = await tinySFT(
    ["training.per_device_train_batch_size=2", "training.gradient_accumulation_steps=1"],
    { rows },
  );
  let mean = 0;
  const sum = new Map<string, Float32Array>();
  for (let k = 0; k < 3; k++) {
    const part = await single.gradients();
    mean += part.loss / 3;
    for (const [name, values] of part.gradients) {
      const before = sum.get(name) ?? new Float32Array(values.length);
      sum.set(name, before.map((value, i) => value + values[i] / 3));
    }
  }
  assertAlmostEquals(loss, mean, 1e-5);
  assert(largestDifference(gradients, sum) < 1e-4);
  await using token = await tinySFT(THREE, { rows });
  assert(Math.abs((await token.gradients()).loss - mean) > 1e-4, "the rows are not uneven enough");
});

Deno.test("SFT's loss is the cross-entropy of the answers' tokens alone, over all of the step", async () => {
  await using run = await tinySFT(ONE);
  const { prepared: { model }, method } = run;
  const { loss } = await run.gradients();
  const [batch] = method.describeLastBatch() as {
    row: number;
    inputIds: number[];
    labels: number[];
  }[][];
  assertEquals(batch.length, 6);
  let sum = 0, count = 0;
  for (const { labels } of batch) for (const label of labels) if (label !== -100) count++;
  // Each example alone, unpadded and with nothing shared.
  for await (const placed of singles(method)) {
    const inBatch = batch.some(({ row, inputIds }) =>
      row === placed.row && inputIds.join() === placed.inputIds.join()
    );
    if (!inBatch) continue;
    const row = packBranches([placed], placed.images, model.imageTokenId)!;
    const alone = batchRows([row], 0, model.config);
    const logProbs = model.labelLogProbs(alone)!;
    const [values] = await readBack([logProbs]);
    for (const value of values) sum -= value;
    logProbs.dispose();
    alone.dispose();
  }
  assertAlmostEquals(loss, sum / count, 1e-5);
});

/** All examples of a method, made one by one. */
async function* singles(method: Awaited<ReturnType<typeof tinySFT>>["method"]) {
  const { dataset, maker } = method.parts;
  if (dataset.streaming) throw new Error("want a data set with rows");
  for (let i = 0; i < dataset.length; i++) {
    const example = await dataset.get(i);
    yield await maker.make({ example, row: dataset.rowOf(i), place: () => dataset.place(i) });
  }
}

Deno.test("share_prefix computes a picture once for its questions, and changes no loss in 20 steps", async () => {
  const settings = [
    "training.per_device_train_batch_size=8",
    "training.max_steps=20",
    "training.logging_steps=1",
    "training.save_strategy=no",
  ];
  await using shared = await tinySFT([...settings, "training.share_prefix=true"]);
  await using alone = await tinySFT([...settings, "training.share_prefix=false"]);
  await shared.trainer.train();
  await alone.trainer.train();
  const a = shared.metrics(), b = alone.metrics();
  assertEquals([a.length, b.length], [20, 20]);
  for (const [i, { loss, grad_norm }] of a.entries()) {
    assertAlmostEquals(loss, b[i].loss, 1e-5 * Math.max(1, b[i].loss), `step ${i + 1}`);
    assertAlmostEquals(grad_norm, b[i].grad_norm, 1e-3 * b[i].grad_norm, `step ${i + 1}`);
  }
  assert(a[19].loss < a[0].loss);
});

Deno.test("an epoch ends with a short micro-batch and a short step, and the next one begins anew", async () => {
  const rows = oneQuestionRows(7);
  assertEquals(rows.length, 7);
  const settings = [
    "training.per_device_train_batch_size=2",
    "training.gradient_accumulation_steps=3",
    "training.max_steps=-1",
    "training.num_train_epochs=2",
    "training.save_strategy=no",
  ];
  const sizes: number[][] = [];
  const epochs: number[] = [];
  await using run = await tinySFT(settings, {
    rows,
    callbacks: [{
      onStepEnd({ epoch }) {
        const batches = run.method.describeLastBatch() as unknown[][];
        sizes.push(batches.map((batch) => batch.length));
        epochs.push(epoch);
      },
    }],
  });
  assertEquals(run.trainer.totalSteps, 4); // ⌈⌈7 / 2⌉ / 3⌉ = 2 an epoch
  await run.trainer.train();
  assertEquals(sizes, [[2, 2, 2], [1], [2, 2, 2], [1]]);
  assertEquals(epochs, [3 / 4, 1, 1 + 3 / 4, 2]); // Trainer counts the batches of an epoch.
});

Deno.test("dataloader_drop_last leaves a batch out that is not full", async () => {
  const rows = oneQuestionRows(7);
  const settings = ["training.dataloader_drop_last=true", "training.save_strategy=no"];
  const sizes: number[] = [];
  await using run = await tinySFT([...settings, "training.max_steps=4"], {
    rows,
    callbacks: [{
      onStepEnd() {
        sizes.push(...(run.method.describeLastBatch() as unknown[][]).map((b) => b.length));
      },
    }],
  });
  assertEquals(run.method.stepsPerEpoch, 3);
  await run.trainer.train();
  assertEquals(sizes, [2, 2, 2, 2]);
});

Deno.test("rows that fill no batch are named as such if dataloader_drop_last leaves them out", async () => {
  await using run = await tinySFT([
    "training.dataloader_drop_last=true",
    "training.per_device_train_batch_size=8",
    "training.max_steps=1",
  ], { rows: oneQuestionRows(5) });
  await assertRejects(
    () => run.trainer.train(),
    Error,
    "the 5 usable examples of an epoch do not fill a batch of 8, and what is not full is left out; " +
      "lower per_device_train_batch_size or set dataloader_drop_last to false",
  );
});

Deno.test("gradient checkpointing changes no gradient, dropout included", async () => {
  await using plain = await tinySFT([...ONE, ...LORA]);
  await using checkpointed = await tinySFT([
    ...ONE,
    ...LORA,
    "training.gradient_checkpointing=true",
  ]);
  const a = await plain.gradients(), b = await checkpointed.gradients();
  assertAlmostEquals(a.loss, b.loss, 1e-6);
  assert(largestDifference(a.gradients, b.gradients) < 1e-5);
});

Deno.test("an evaluation gives the mean over all label tokens, whatever its batch size", async () => {
  const losses: number[] = [];
  for (const size of [1, 5, 64]) {
    await using run = await tinySFT([
      "training.eval_strategy=steps",
      `training.per_device_eval_batch_size=${size}`,
    ], { rows: unevenRows() });
    losses.push((await run.method.evaluate())!.metrics.eval_loss);
  }
  assertAlmostEquals(losses[0], losses[1], 1e-5);
  assertAlmostEquals(losses[0], losses[2], 1e-5);
});

Deno.test("SFT with dft evaluates by its own loss and resumes to the bit", async () => {
  const settings = [
    ...LORA,
    "sft.loss_type=dft",
    "training.eval_strategy=steps",
    "training.eval_steps=2",
  ];
  await using straight = await tinySFT(settings);
  await straight.trainer.train();
  const [first, last] = straight.metrics().filter((record) => "eval_loss" in record);
  // −p log p of a token is at most 1/e.
  assert(first.eval_loss < Math.exp(-1) && last.eval_loss < Math.exp(-1));

  await using half = await tinySFT([...settings, "training.max_steps=2"]);
  await half.trainer.train();
  await using resumed = await tinySFT(settings);
  assertEquals(await resumed.trainer.resume(await half.trainer.save()), 2);
  await resumed.trainer.train();
  assertEquals(await resumed.weights(), await straight.weights());
});
