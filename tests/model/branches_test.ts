import { assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { batchRows, packBranches, type Sequence } from "../../src/model/branches.ts";
import { initializeWeights } from "../../src/model/initialize.ts";
import { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import { lossGradients } from "../../src/train/loop/gradients.ts";
import { IMAGE, tinyConfig as config } from "../generate/tiny_model.ts";

const image = {
  tiles: Float32Array.from({ length: 3 * 16 * 16 }, (_, i) => (i * 37 % 256) / 255),
  tileCount: 1,
};
/** Prompt tokens, then an answer whose tokens are labelled. */
function sequence(prompt: number[], answer: number[]): Sequence {
  const inputIds = [...prompt, ...answer];
  const labels = inputIds.map((_, i) => i + 1 >= prompt.length ? inputIds[i + 1] ?? -100 : -100);
  return { inputIds, labels };
}
const head = [1, IMAGE, IMAGE, IMAGE, IMAGE, 7, 8];
const branches = [
  sequence([...head, 9, 10], [20, 2]),
  sequence([...head, 11], [21, 22, 23, 2]),
  sequence([...head, 9, 12, 13], [24, 2]),
];
const withoutImage = sequence([1, 5, 6], [30, 31, 2]);

Deno.test("packBranches() shares the prefix before the first label and restarts positions", () => {
  const row = packBranches(branches, [image], IMAGE)!;
  assertEquals(row.prefixLength, head.length);
  // The end token of each branch predicts nothing and is left out.
  assertEquals(row.inputIds.length, head.length + 3 + 4 + 4);
  assertEquals(row.positions.slice(7, 14), [7, 8, 9, 7, 8, 9, 10]);
  assertEquals(row.branchStarts[10], 10);
});

Deno.test("packBranches() keeps a labelled token out of the prefix", () => {
  const chosen = sequence([1, 5, 6], [30, 31, 2]);
  const rejected = sequence([1, 5, 6], [30, 32, 2]);
  assertEquals(packBranches([chosen, rejected], [], IMAGE)!.prefixLength, 2);
});

Deno.test("shared prefixes give the losses and gradients of separate rows", async () => {
  await tf.setBackend("cpu");
  const model = new VisionLanguageModel(config, initializeWeights(config, 3), IMAGE);
  const measure = async (rows: ReturnType<typeof packBranches>[]) => {
    const batch = batchRows(rows.map((row) => row!), 2, config);
    const { loss, gradients } = lossGradients(
      () => model.labelLogProbs(batch)!.mean().neg() as tf.Scalar,
      model.weights,
    );
    batch.dispose();
    return { loss: (await loss.data())[0], gradients };
  };
  const alone = await measure([
    ...branches.map((branch) => packBranches([branch], [image], IMAGE)),
    packBranches([withoutImage], [], IMAGE),
  ]);
  const shared = await measure([
    packBranches(branches, [image], IMAGE),
    packBranches([withoutImage], [], IMAGE),
  ]);
  assertAlmostEquals(shared.loss, alone.loss, 1e-5);
  assertEquals([...shared.gradients.keys()], [...alone.gradients.keys()]);
  for (const [name, gradient] of alone.gradients) {
    const wanted = await gradient.data<"float32">();
    const got = await shared.gradients.get(name)!.data();
    const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
    wanted.forEach((value, i) => assertAlmostEquals(got[i], value, 1e-5 * largest, name));
  }
  model.dispose();
});
