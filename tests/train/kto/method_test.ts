import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { ktoLoss, mismatchedDivergence } from "../../../src/losses/kto.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { StepAborted } from "../../../src/train/loop/training_method.ts";
import { LORA } from "../dpo/tiny_dpo.ts";
import { largestDifference } from "../largest_difference.ts";
import { tinyConfig, tinyKTO } from "./tiny_kto.ts";

const ONE_BATCH = [
  "training.per_device_train_batch_size=6",
  "training.gradient_accumulation_steps=1",
];
const WEIGHTS = ["dpo.desirable_weight=1.5", "dpo.undesirable_weight=0.5", "dpo.beta=0.3"];

for (const type of ["kto", "apo_zero_unpaired"]) {
  Deno.test(`KTO with ${type}: three micro-batches give the gradient of one batch`, async () => {
    const settings = [...WEIGHTS, `dpo.loss_type=${type}`];
    using parts = await tinyKTO(tinyConfig(settings));
    using whole = await tinyKTO(tinyConfig([...settings, ...ONE_BATCH]));
    // After a few steps the divergence from the reference is not 0.
    for (let step = 0; step < 3; step++) {
      await parts.update();
      await whole.update();
    }
    const three = await parts.gradients(), one = await whole.gradients();
    assertAlmostEquals(three.loss, one.loss, 1e-4);
    assert(largestDifference(three.gradients, one.gradients) < 5e-3);
    assertEquals(Object.keys(three.outcome.metrics!), Object.keys(one.outcome.metrics!));
    if (type === "kto") assert("kl" in one.outcome.metrics!);
  });

  Deno.test(`KTO with ${type} resumes to the bit, dropout and an unfinished epoch included`, async () => {
    const config = tinyConfig([...LORA, "dpo.disable_dropout=false", `dpo.loss_type=${type}`]);
    using straight = await tinyKTO(config);
    for (let step = 0; step < 3; step++) await straight.update();
    const state = JSON.parse(JSON.stringify(straight.method.state()));
    const weights = await straight.weights();
    const moments = await straight.optimizer.state();

    using resumed = await tinyKTO(config);
    for (const [name, parameter] of resumed.optimizer.parameters) {
      tf.tidy(() => parameter.assign(tf.tensor(weights.get(name)!, parameter.shape)));
    }
    resumed.optimizer.restore(moments);
    resumed.method.restore(state);
    for (let step = 0; step < 3; step++) {
      const expected = await straight.update(), got = await resumed.update();
      assertEquals(got.loss, expected.loss);
      assertEquals(got.outcome.metrics, expected.outcome.metrics);
    }
    assertEquals(await resumed.weights(), await straight.weights());
  });
}

Deno.test("KTO's loss is that of each answer alone, with prompts and answers of a step rotated", async () => {
  using run = await tinyKTO(tinyConfig([...WEIGHTS, ...ONE_BATCH]));
  for (let step = 0; step < 2; step++) await run.update();
  const { model } = run.prepared;
  const { maker } = run.method.parts;
  const before = new Map(await run.weights());
  const { loss, outcome } = await run.gradients();
  const [batch] = run.method.lastExamples;
  const logProb = ({ promptIds, answerIds, images }: typeof batch[number]) => {
    const ids = [...promptIds, ...answerIds];
    const { logits } = model.forward({ inputIds: [ids], images: [images], returnLogits: true });
    const table = tf.logSoftmax(logits!.squeeze<tf.Tensor2D>([0])).arraySync() as number[][];
    return answerIds.reduce((sum, id, t) => sum + table[promptIds.length - 1 + t][id], 0);
  };
  const rotated = batch.map((example, i) => ({
    ...example,
    answerIds: batch[(i + batch.length - 1) % batch.length].answerIds,
  }));
  assertEquals(
    maker.mismatched(batch).map(({ answerIds }) => answerIds),
    rotated.map(({ answerIds }) => answerIds),
  );
  const ours = batch.map(logProb), oursRotated = rotated.map(logProb);
  // The reference is the model as it was made.
  using fresh = await tinyKTO(tinyConfig([...WEIGHTS, ...ONE_BATCH]));
  const initial = await fresh.weights();
  for (const [name, variable] of run.optimizer.parameters) {
    tf.tidy(() => variable.assign(tf.tensor(initial.get(name)!, variable.shape)));
  }
  const theirs = batch.map(logProb), theirsRotated = rotated.map(logProb);
  for (const [name, variable] of run.optimizer.parameters) {
    tf.tidy(() => variable.assign(tf.tensor(before.get(name)!, variable.shape)));
  }
  const expected = ktoLoss({
    logProbs: ours,
    refLogProbs: theirs,
    desirable: batch.map(({ desirable }) => desirable),
    divergence: mismatchedDivergence(oursRotated, theirsRotated),
  }, { lossType: "kto", beta: 0.3, desirableWeight: 1.5, undesirableWeight: 0.5 });
  assertAlmostEquals(loss, expected.loss, 1e-4);
  assertAlmostEquals(outcome.metrics!.kl, expected.metrics.kl, 1e-2);
});

Deno.test("KTO makes good answers likelier than bad ones, and leaves no tensors", async () => {
  using run = await tinyKTO(tinyConfig([...ONE_BATCH, "dpo.beta=1"]));
  const before = (await run.method.evaluate())!.metrics;
  await run.update();
  const { numTensors } = tf.memory();
  for (let step = 0; step < 25; step++) await run.update();
  const after = (await run.method.evaluate())!.metrics;
  assertEquals(tf.memory().numTensors, numTensors);
  assertAlmostEquals(before["eval_rewards/margins"], 0, 1e-5);
  assert(after["eval_rewards/margins"] > 0.5, String(after["eval_rewards/margins"]));
  assert(after.eval_loss < before.eval_loss);
});

Deno.test("a KTO step that is aborted leaves everything as it was", async () => {
  using run = await tinyKTO(tinyConfig());
  await run.update();
  const before = JSON.stringify(run.method.state());
  const accumulator = new GradientAccumulator();
  const { parameters } = run.optimizer;
  const signal = AbortSignal.abort();
  await assertRejects(
    () => run.method.step({ accumulator, parameters, step: 1, signal }),
    StepAborted,
  );
  accumulator.reset();
  assertEquals(JSON.stringify(run.method.state()), before);
});
