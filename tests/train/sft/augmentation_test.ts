import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { shapeRows, tinySFT } from "./tiny_sft.ts";

const CHANGES = [
  "dataset.augmentation.crop=0.2",
  "dataset.augmentation.flip=0.5",
  "dataset.augmentation.rotate=8",
  "dataset.augmentation.colour=0.3",
];

Deno.test("a run with augmentation resumes to the same bytes, in a later epoch too", async () => {
  const settings = [...CHANGES, "training.max_steps=14", "training.save_steps=9"];
  const rows = shapeRows(2);
  await using whole = await tinySFT(settings, { rows });
  await whole.trainer.train();
  const expected = await whole.weights();
  assert(whole.metrics().some(({ epoch }) => epoch > 1), "the run has one epoch alone");
  await using again = await tinySFT(settings, { rows, folder: whole.folder });
  await again.trainer.resume(`${whole.folder}/checkpoint-9`);
  await again.trainer.train();
  assertEquals(await again.weights(), expected);
});

Deno.test("training sees other pictures in each epoch, evaluation the pictures as they are", async () => {
  await using run = await tinySFT([...CHANGES, "training.eval_strategy=steps"]);
  await using plain = await tinySFT(["training.eval_strategy=steps"]);
  const { maker, dataset } = run.method.parts;
  assert(!dataset.streaming);
  const example = await dataset.get(0);
  const place = () => Promise.resolve("row 0");
  const tilesOf = async (
    drawn?: { epoch: number; row: number },
  ) => [...(await maker.make({ example, row: 0, place, drawn })).images[0].tiles];
  assertEquals(await tilesOf({ epoch: 0, row: 0 }), await tilesOf({ epoch: 0, row: 0 }));
  assertNotEquals(await tilesOf({ epoch: 0, row: 0 }), await tilesOf({ epoch: 1, row: 0 }));
  assertNotEquals(await tilesOf({ epoch: 0, row: 0 }), await tilesOf());
  const [changed, usual] = [await run.method.evaluate(), await plain.method.evaluate()];
  assertEquals(changed!.metrics.eval_loss, usual!.metrics.eval_loss);
  assertNotEquals((await run.gradients()).loss, (await plain.gradients()).loss);
});
