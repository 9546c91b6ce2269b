/** `sft.train_on_prompt` and `sft.last_turn_only`: losses and gradients against others that are known. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { joinRows, packBranches } from "../../../src/model/branches.ts";
import { turnMessages } from "../../../src/data/rows/conversation.ts";
import { sftExampleMaker } from "../../../src/train/sft/setup.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { largestDifference } from "../largest_difference.ts";
import { shapeRows, type TinySFT, tinySFT } from "./tiny_sft.ts";

const STEP = [
  "dataset.split_turns=false",
  "training.per_device_train_batch_size=4",
  "training.gradient_accumulation_steps=1",
];

/** The mean loss of tokens by the model's plain logits, of which the mask of each row is given. */
async function lossByLogits(
  run: TinySFT,
  mask: (
    row: { inputIds: readonly number[]; imageTokenId: number; answers: number[] },
  ) => boolean[],
): Promise<number> {
  const { model } = run.prepared;
  const maker = sftExampleMaker(run.prepared, { ...run.config, sft: ANSWERS });
  const data = await datasetFromRows(shapeRows(), { format: "vqa", name: "shapes" });
  let sum = 0, count = 0;
  for (let i = 0; i < data.length; i++) {
    const example = (await data.tryGet(i))!;
    const images = await maker.tiles.process(example.images, null);
    const chat = maker.parts.builder.build(
      turnMessages(example.turns),
      images.map(({ grid }) => grid),
    );
    const { inputIds, lossMask } = chat;
    const counted = mask({ inputIds, imageTokenId: model.imageTokenId, answers: lossMask });
    // Every token as the label of the one before it.
    const labels = inputIds.map((_, t) => inputIds[t + 1] ?? -100);
    const row = packBranches([{ inputIds, labels }], images, model.imageTokenId)!;
    const batch = joinRows([row], model.config);
    const values = tf.tidy(() => model.labelLogProbs(batch)!.dataSync());
    batch.dispose();
    values.forEach((value, t) => {
      if (!counted[t + 1]) return;
      sum -= value;
      count++;
    });
  }
  return sum / count;
}

const ANSWERS = { loss_type: "nll", train_on_prompt: false, last_turn_only: false } as const;

Deno.test("train_on_prompt counts every token but those of pictures", async () => {
  await using run = await tinySFT([...STEP, "sft.train_on_prompt=true"]);
  const { tokenizer, model } = run.prepared;
  const pictures = new Set(
    Object.values(tokenizer.extraTokens).map((token) => tokenizer.tokenToId(token)),
  );
  assert(pictures.has(model.imageTokenId));
  const wanted = await lossByLogits(run, ({ inputIds }) => inputIds.map((id) => !pictures.has(id)));
  const { loss, gradients } = await run.gradients();
  assertAlmostEquals(loss, wanted, 1e-4);

  await using answers = await tinySFT(STEP);
  const plain = await answers.gradients();
  assertAlmostEquals(
    plain.loss,
    await lossByLogits(answers, ({ answers }) => answers.map((mask) => mask === 1)),
    1e-4,
  );
  assert(Math.abs(plain.loss - loss) > 1e-2);
  assert(largestDifference(plain.gradients, gradients) > 1e-2);
});

Deno.test("last_turn_only has the loss of conversations whose earlier answers have the weight 0", async () => {
  const rows = shapeRows();
  const weighed = rows.map((row) => ({
    ...row,
    texts: (row.texts as Record<string, string>[]).map((turn, i, all) =>
      i === all.length - 1 ? turn : { ...turn, weight: 0 }
    ),
  }));
  assert(weighed.every(({ texts }) => texts.length > 1));
  await using last = await tinySFT([...STEP, "sft.last_turn_only=true"], { rows });
  await using wanted = await tinySFT(STEP, { rows: weighed });
  const [a, b] = [await last.gradients(), await wanted.gradients()];
  assertEquals(a.loss, b.loss);
  assertEquals(largestDifference(a.gradients, b.gradients), 0);
  await using all = await tinySFT(STEP, { rows });
  assert(Math.abs((await all.gradients()).loss - a.loss) > 1e-3);
});

for (const key of ["train_on_prompt", "last_turn_only"]) {
  Deno.test(`with ${key}, k micro-batches give the gradient of one batch, and evaluation has the same loss`, async () => {
    const settings = [...STEP, `sft.${key}=true`, "training.eval_strategy=steps"];
    await using one = await tinySFT(settings);
    await using four = await tinySFT([
      ...settings,
      "training.per_device_train_batch_size=1",
      "training.gradient_accumulation_steps=4",
    ]);
    const evaluated = (await one.method.evaluate())!.metrics.eval_loss;
    const [a, b] = [await one.gradients(), await four.gradients()];
    assertAlmostEquals(a.loss, b.loss, 1e-5);
    assert(largestDifference(a.gradients, b.gradients) < 1e-4);
    assertAlmostEquals(evaluated, a.loss, 1e-5);
  });
}

Deno.test("with train_on_prompt, turns that share a picture have the loss of separate rows", async () => {
  const settings = [
    "dataset.split_turns=true",
    "training.per_device_train_batch_size=8",
    "sft.train_on_prompt=true",
  ];
  await using shared = await tinySFT(settings);
  await using apart = await tinySFT([...settings, "training.share_prefix=false"]);
  const [a, b] = [await shared.gradients(), await apart.gradients()];
  assertAlmostEquals(a.loss, b.loss, 1e-5);
  assert(largestDifference(a.gradients, b.gradients) < 1e-4);
});

Deno.test("last_turn_only skips a row whose last answer has the weight 0, with the reason", async () => {
  const rows = shapeRows().map((row) => ({
    ...row,
    texts: (row.texts as Record<string, string>[]).map((turn, i, all) =>
      i === all.length - 1 ? { ...turn, weight: 0 } : turn
    ),
  }));
  await using run = await tinySFT([...STEP, "sft.last_turn_only=true"], { rows });
  let message = "";
  await run.gradients().catch((error) => message = String(error));
  assert(message.includes("the last answer has the weight 0"), message);
});
