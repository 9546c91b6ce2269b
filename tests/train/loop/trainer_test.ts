import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { listCheckpoints } from "../../../src/train/checkpoint/checkpoint_folder.ts";
import { totalSteps } from "../../../src/train/loop/due_work.ts";
import { Trainer } from "../../../src/train/loop/trainer.ts";
import type { TrainingMethod } from "../../../src/train/loop/training_method.ts";
import { largestDifference } from "../dpo/tiny_dpo.ts";
import { methodWith } from "../method_with.ts";
import { LORA, tinyConfig, tinySFT } from "../sft/tiny_sft.ts";

const steps = async (folder: string) => (await listCheckpoints(folder)).map(({ step }) => step);

Deno.test("epochs and steps are counted as Transformers does", () => {
  const { training } = tinyConfig(["training.max_steps=-1"]);
  const count = (epochs: number, perEpoch: number | null, max = -1) =>
    totalSteps({ ...training, num_train_epochs: epochs, max_steps: max }, perEpoch);
  assertEquals(count(3, 7), 21);
  assertEquals(count(0.5, 7), 4);
  assertEquals(count(1.1, 10), 11);
  assertEquals(count(3, 7, 5), 5);
  assertEquals(count(3, null, 5), 5);
  assertThrows(() => count(3, null), Error, "set training.max_steps");
});

Deno.test("a run logs, evaluates and saves when its strategies say so, and tells its callbacks", async () => {
  const events: string[] = [];
  await using run = await tinySFT([
    "training.max_steps=7",
    "training.logging_steps=3",
    "training.logging_first_step=true",
    "training.eval_strategy=steps",
    "training.eval_steps=3",
    "training.save_steps=2",
    "training.save_total_limit=2",
  ], {
    callbacks: [{
      onStepEnd: ({ step, totalSteps }) => void events.push(`step ${step}/${totalSteps}`),
      onLog: ({ step }) => void events.push(`log ${step}`),
      onEvaluate: ({ step }) => void events.push(`evaluate ${step}`),
      onSave: (folder) => void events.push(`save ${folder.split("-").at(-1)}`),
    }],
  });
  const { status, step, evaluation, trainLoss } = await run.trainer.train();
  assertEquals([status, step], ["done", 7]);
  assert(evaluation !== null && Number.isFinite(evaluation.eval_loss) && trainLoss > 0);
  assertEquals(events.filter((event) => event.startsWith("log")), [
    "log 1",
    "log 3",
    "log 6",
    "log 7",
  ]);
  assertEquals(events.filter((event) => event.startsWith("ev")), ["evaluate 3", "evaluate 6"]);
  assertEquals(events.filter((event) => event.startsWith("sa")), [
    "save 2",
    "save 4",
    "save 6",
    "save 7",
  ]);
  assertEquals(events.filter((event) => event.startsWith("step")).length, 7);
  assert(events.indexOf("evaluate 6") < events.indexOf("save 6"));
  // The last two, one of which is the only one that was evaluated.
  assertEquals(run.trainer.bestCheckpoint?.endsWith("checkpoint-6"), true);
  assertEquals(await steps(run.folder), [6, 7]);
  const logged = run.metrics().filter((record) => "loss" in record);
  assertEquals(logged.map(({ step }) => step), [1, 3, 6, 7]);
  for (const key of ["epoch", "grad_norm", "learning_rate"]) assert(key in logged[0], key);
});

Deno.test("a logged loss is the mean since the last log", async () => {
  const losses = async (every: number) => {
    await using run = await tinySFT([
      "training.max_steps=6",
      `training.logging_steps=${every}`,
      "training.save_strategy=no",
    ]);
    await run.trainer.train();
    return run.metrics().map(({ loss }) => loss);
  };
  const single = await losses(1), triple = await losses(3);
  assertEquals([single.length, triple.length], [6, 2]);
  assertAlmostEquals(triple[0], (single[0] + single[1] + single[2]) / 3, 1e-6);
  assertAlmostEquals(triple[1], (single[3] + single[4] + single[5]) / 3, 1e-6);
});

Deno.test("strategies by epoch, and none at all", async () => {
  const epochs = [
    "training.max_steps=-1",
    "training.num_train_epochs=2",
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=2",
  ];
  const evaluated: number[] = [];
  await using byEpoch = await tinySFT([
    ...epochs,
    "training.save_strategy=epoch",
    "training.eval_strategy=epoch",
    "training.save_total_limit=null",
  ], { callbacks: [{ onEvaluate: ({ step }) => void evaluated.push(step) }] });
  const perEpoch = byEpoch.method.stepsPerEpoch!;
  assert(perEpoch > 1);
  assertEquals(byEpoch.trainer.totalSteps, 2 * perEpoch);
  await byEpoch.trainer.train();
  assertEquals(evaluated, [perEpoch, 2 * perEpoch]);
  assertEquals(await steps(byEpoch.folder), [perEpoch, 2 * perEpoch]);
  await using none = await tinySFT(["training.save_strategy=no"]);
  await none.trainer.train();
  assertEquals(await steps(none.folder), []);
});

Deno.test("a callback stops a run, which saves first", async () => {
  await using run = await tinySFT(["training.max_steps=50", "training.save_steps=100"], {
    callbacks: [{ onStepEnd: ({ step }) => step === 3 ? "stop" : undefined }],
  });
  const { status, step } = await run.trainer.train();
  assertEquals([status, step], ["stopped", 3]);
  assertEquals(await steps(run.folder), [3]);
});

/** A method with held-out losses that are given. */
const withEvaluations = (method: TrainingMethod, losses: number[]): TrainingMethod =>
  methodWith(method, {
    evaluate: () =>
      Promise.resolve({ metrics: { eval_loss: losses.shift()!, eval_runtime: 1 }, samples: [] }),
  });

for (const extra of [[], LORA]) {
  const kind = extra.length > 0 ? " (LoRA)" : "";
  Deno.test(`load_best_model_at_end ends with the weights of the best checkpoint, which no limit removes${kind}`, async () => {
    const settings = [
      ...extra,
      "training.max_steps=5",
      "training.eval_strategy=steps",
      "training.eval_steps=1",
      "training.save_steps=1",
      "training.save_total_limit=1",
      "training.load_best_model_at_end=true",
    ];
    await using run = await tinySFT(settings);
    const seen: Map<string, Float32Array>[] = [];
    const trainer = new Trainer(withEvaluations(run.method, [3, 1, 2, 2.5, 4]), {
      ...run.options,
      callbacks: [{ onStepEnd: async () => void seen.push(await run.weights()) }],
    });
    await trainer.train();
    assertEquals(trainer.bestCheckpoint, `${run.folder}/checkpoint-2`);
    assertEquals(await steps(run.folder), [2, 5]);
    const last = await run.weights();
    assertEquals(largestDifference(last, seen[1]), 0);
    assert(largestDifference(seen[1], seen[4]) > 0);
    trainer.dispose();
  });
}

Deno.test("a run that goes on from a checkpoint within an epoch ends with the same bytes", async () => {
  const settings = [
    ...LORA,
    "training.max_steps=8",
    "training.save_steps=3",
    "training.save_total_limit=null",
    "training.gradient_accumulation_steps=2",
    "training.lr_scheduler_type=cosine",
    "training.logging_steps=2",
  ];
  await using whole = await tinySFT(settings);
  await whole.trainer.train();
  await using again = await tinySFT(settings);
  assertEquals(await again.trainer.resume(`${whole.folder}/checkpoint-3`), 3);
  assertEquals(again.trainer.step, 3);
  await again.trainer.train();
  assertEquals(largestDifference(await again.weights(), await whole.weights()), 0);
  const tail = (run: typeof whole) =>
    run.metrics().filter(({ step }) => step > 3).map((
      { step, loss, grad_norm, learning_rate },
    ) => ({
      step,
      loss,
      grad_norm,
      learning_rate,
    }));
  assertEquals(tail(again), tail(whole));
});

Deno.test("an aborted signal saves at the next step, and the run says that it was interrupted", async () => {
  const controller = new AbortController();
  await using run = await tinySFT(["training.max_steps=50", "training.save_steps=100"], {
    signal: controller.signal,
    callbacks: [{ onStepEnd: ({ step }) => void (step === 2 && controller.abort()) }],
  });
  const { status, step } = await run.trainer.train();
  assertEquals([status, step], ["interrupted", 2]);
  assertEquals(await steps(run.folder), [2]);
});

Deno.test("the same seed gives the same run, another seed another", async () => {
  const losses = async (seed: number) => {
    await using run = await tinySFT([
      `training.seed=${seed}`,
      "training.logging_steps=1",
      "training.save_strategy=no",
    ]);
    await run.trainer.train();
    return run.metrics().map(({ loss }) => loss);
  };
  const first = await losses(1);
  assertEquals(await losses(1), first);
  assert((await losses(2)).every((loss, i) => loss !== first[i]));
});

Deno.test("resuming with what does not fit names the tensor and changes nothing", async () => {
  await using small = await tinySFT(["training.max_steps=1"]);
  await small.trainer.train();
  await using wide = await tinySFT(["model.vlm_config.lm_inter_dim=128"]);
  const before = await wide.weights();
  await assertRejects(
    () => wide.trainer.resume(`${small.folder}/checkpoint-1`),
    Error,
    "[192,64] there, the config makes it [128,64]",
  );
  assertEquals(largestDifference(await wide.weights(), before), 0);
});
