/** Data that is made ahead of the step, in threads, grouped by length, and joined: what it changes. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Row } from "../../../src/data/rows/row.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { countTokens } from "../../../src/model/batch.ts";
import { batchRows } from "../../../src/model/branches.ts";
import { GradientAccumulator, lossGradients } from "../../../src/train/loop/gradients.ts";
import { exampleRows, type SFTExample } from "../../../src/train/sft/examples.ts";
import type * as tf from "@tensorflow/tfjs";
import { largestDifference } from "../dpo/tiny_dpo.ts";
import { LORA, shapeRows, type TinySFT, tinySFT } from "../sft/tiny_sft.ts";

const WORDS = 60;

/** Pictures with one to six questions whose answers have one to sixty words. */
function unlikeRows(pictures: number): Row[] {
  return shapeRows(pictures).map((row, i) => ({
    images: row.images,
    texts: Array.from({ length: 1 + (i * 5) % 6 }, (_, turn) => ({
      user: `What is it, ${turn}?`,
      assistant: Array(1 + (i * 11 + turn * 7) % WORDS).fill("red").join(" "),
    })),
  }));
}

const STEPS = [
  "training.per_device_train_batch_size=4",
  "training.gradient_accumulation_steps=2",
  "training.max_steps=8",
  "training.save_steps=3",
  "training.logging_steps=1",
];

/** Hashes of the last checkpoint's weights and moments. */
async function bytesOf(run: TinySFT): Promise<string[]> {
  const hashes: string[] = [];
  for await (const { name } of Deno.readDir(`${run.folder}/checkpoint-8`)) {
    if (!name.endsWith(".safetensors")) continue;
    const bytes = await Deno.readFile(`${run.folder}/checkpoint-8/${name}`);
    const digest = await crypto.subtle.digest("SHA-256", bytes);
    hashes.push(`${name} ${new Uint8Array(digest).toHex()}`);
  }
  assert(hashes.length >= 2);
  return hashes.toSorted();
}

for (const settings of [[], ["training.group_by_length=true"], LORA]) {
  const name = settings.length === 0 ? "as they come" : settings.at(-1)!.split(".").at(-1);
  Deno.test(`with threads and without, stopped or not, a run ends in the same bits (${name})`, async () => {
    const rows = unlikeRows(9);
    const all = [...STEPS, ...settings];
    await using plain = await tinySFT([...all, "training.dataloader_num_workers=0"], { rows });
    await plain.trainer.train();
    await using threads = await tinySFT([...all, "training.dataloader_num_workers=2"], { rows });
    await threads.trainer.train();
    const wanted = await bytesOf(plain);
    assertEquals(await bytesOf(threads), wanted);
    assertEquals(threads.method.parts.maker.tiles.workers, 0, "they ended with the run");

    const folder = await Deno.makeTempDir({ prefix: "ahead " });
    try {
      const stop = {
        onStepEnd: ({ step }: { step: number }) => step === 5 ? "stop" as const : undefined,
      };
      const workers = "training.dataloader_num_workers=1";
      await using first = await tinySFT([...all, workers], { rows, folder, callbacks: [stop] });
      assertEquals((await first.trainer.train()).status, "stopped");
      await using second = await tinySFT([...all, workers], { rows, folder });
      assertEquals(await second.trainer.resume("auto"), 5);
      await second.trainer.train();
      assertEquals(await bytesOf(second), wanted);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("an interrupted run has dropped what was made ahead, and resumes as if it had not been", async () => {
  const rows = unlikeRows(9);
  const all = [...STEPS, "training.dataloader_num_workers=1"];
  await using whole = await tinySFT(all, { rows });
  await whole.trainer.train();
  const folder = await Deno.makeTempDir({ prefix: "ahead " });
  try {
    const abort = new AbortController();
    await using first = await tinySFT(all, {
      rows,
      folder,
      signal: abort.signal,
      callbacks: [{ onStepEnd: ({ step }) => void (step === 4 && abort.abort()) }],
    });
    assertEquals((await first.trainer.train()).status, "interrupted");
    await using second = await tinySFT(all, { rows, folder });
    assertEquals(await second.trainer.resume("auto"), 4);
    await second.trainer.train();
    assertEquals(await bytesOf(second), await bytesOf(whole));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

for (const extra of [[], ["training.share_prefix=false"]]) {
  Deno.test(`joined rows have the loss and gradient of rows padded to the longest ${extra}`, async () => {
    const settings = ["training.per_device_train_batch_size=24", ...extra];
    await using run = await tinySFT(settings, { rows: unlikeRows(9) });
    const { prepared: { model, tokenizer }, method, trainer } = run;
    const { parameters } = trainer.optimizer;
    const accumulator = new GradientAccumulator();
    const outcome = await method.step({ accumulator, parameters, step: 0 });
    assertEquals(outcome.losses.length, 1);
    const loss = (await readBack(outcome.losses)).reduce((sum, [value]) => sum + value, 0);
    const gradients = await read(accumulator.gradients);

    // The same examples in one batch, padded to the longest.
    const [described] = method.describeLastBatch() as { row: number; inputIds: number[] }[][];
    const examples: SFTExample[] = [];
    const { dataset, maker } = method.parts;
    if (dataset.streaming) throw new Error("want a data set with rows");
    const made = new Map<string, SFTExample>();
    for (let i = 0; i < dataset.length; i++) {
      const row = dataset.rowOf(i), example = await dataset.get(i);
      const one = await maker.make({ example, row, place: () => dataset.place(i) });
      made.set(`${row}: ${one.inputIds}`, one);
    }
    for (const { row, inputIds } of described) examples.push(made.get(`${row}: ${inputIds}`)!);
    const packed = exampleRows(examples, extra.length === 0, model.imageTokenId);
    const batch = batchRows(packed, tokenizer.padTokenId, model.config);
    const whole = lossGradients(
      () => model.labelLogProbs(batch)!.mean().neg() as tf.Scalar,
      parameters,
    );
    const [[wholeLoss]] = await readBack([whole.loss]);
    assertAlmostEquals(loss, wholeLoss, 1e-5);
    assert(largestDifference(gradients, await read(whole.gradients)) < 1e-4);

    assertEquals(outcome.tokens, packed.reduce((sum, { inputIds }) => sum + inputIds.length, 0));
    assertEquals(outcome.padding, 0);
    assert(
      countTokens(batch).padding > outcome.tokens / 10,
      "the rows are too much alike to be padded",
    );
    batch.dispose();
    accumulator.reset();
    for (const tensor of [...outcome.losses, whole.loss, ...whole.gradients.values()]) {
      tensor.dispose();
    }
  });
}

async function read(tensors: ReadonlyMap<string, tf.Tensor>): Promise<Map<string, Float32Array>> {
  const values = await readBack([...tensors.values()]);
  return new Map([...tensors.keys()].map((name, i) => [name, values[i].slice() as Float32Array]));
}

Deno.test("padding_share is the share of padding among the tokens computed since the last log", async () => {
  const shares: number[] = [];
  await using run = await tinySFT(
    [...STEPS, "training.logging_steps=2", "training.max_steps=4", "training.save_strategy=no"],
    {
      rows: unlikeRows(9),
      callbacks: [{ onLog: (record) => void shares.push(Number(record.padding_share)) }],
    },
  );
  const step = run.method.step.bind(run.method);
  // Joined rows have none: made up, as the window counts it.
  run.method.step = async (context) => {
    const outcome = await step(context);
    return { ...outcome, tokens: 30, padding: context.step };
  };
  await run.trainer.train();
  assertEquals(shares, [1 / 61, 5 / 65]);
  assertEquals(run.metrics().map(({ padding_share }) => padding_share), shares);
});
