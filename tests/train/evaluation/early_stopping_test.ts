import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { localRanks } from "../../distributed/local_ranks.ts";
import { listCheckpoints } from "../../../src/train/checkpoint/checkpoint_folder.ts";
import { readCheckpointState } from "../../../src/train/checkpoint/run_state.ts";
import {
  EarlyStopping,
  type EarlyStoppingSettings,
} from "../../../src/train/evaluation/early_stopping.ts";
import { Trainer } from "../../../src/train/loop/trainer.ts";
import type { TrainingMethod } from "../../../src/train/loop/training_method.ts";
import { largestDifference } from "../largest_difference.ts";
import { methodWith } from "../method_with.ts";
import { type TinySFT, tinySFT } from "../sft/tiny_sft.ts";

const SETTINGS: EarlyStoppingSettings = {
  early_stopping_patience: 2,
  early_stopping_threshold: 0,
  greater_is_better: false,
  metric_for_best_model: "loss",
};

/** After which evaluation a run stops, and which are the best so far; steps are 1, 2, … */
function watch(values: readonly number[], settings: Partial<EarlyStoppingSettings> = {}) {
  const stopping = new EarlyStopping({ ...SETTINGS, ...settings });
  const best: number[] = [];
  for (const [i, value] of values.entries()) {
    const { isBest, stops } = stopping.observe(value, i + 1);
    if (isBest) best.push(i + 1);
    if (stops) return { stoppedAfter: i + 1, best, reason: stopping.reason };
  }
  return { stoppedAfter: null, best, reason: "" };
}

Deno.test("EarlyStopping stops after as many evaluations without improvement as its patience", () => {
  assertEquals(watch([3, 2, 2.5, 2.1, 1]).stoppedAfter, 4);
  assertEquals(watch([3, 2, 2.5, 1.9, 2, 1.8]).stoppedAfter, null);
  assertEquals(watch([3, 3, 3]).stoppedAfter, 3, "an equal metric is no improvement");
  assertEquals(watch([1, 2], { early_stopping_patience: 1 }).stoppedAfter, 2);
  assertEquals(watch([1, 2, 3, 4], { early_stopping_patience: null }).stoppedAfter, null);
});

Deno.test("EarlyStopping follows a metric that should grow", () => {
  const up = { greater_is_better: true, metric_for_best_model: "eval_reward" };
  const { stoppedAfter, best, reason } = watch([0.1, 0.5, 0.4, 0.45], up);
  assertEquals([stoppedAfter, best], [4, [1, 2]]);
  assertEquals(
    reason,
    "early stopping: eval_reward has not improved in the last 2 evaluations; the best was 0.5 at step 2",
  );
});

Deno.test("EarlyStopping counts a gain below the threshold as none, and the best moves all the same", () => {
  const { stoppedAfter, best } = watch([3, 2.95, 2.9, 2.85], { early_stopping_threshold: 0.1 });
  assertEquals(stoppedAfter, 3);
  assertEquals(best, [1, 2, 3]);
  // 2.85 is 0.15 below 3, and 0.05 below 2.9, which is what counts.
  assertEquals(
    watch([3, 2.9, 2.85], { early_stopping_threshold: 0.07, early_stopping_patience: 1 })
      .stoppedAfter,
    3,
  );
});

Deno.test("EarlyStopping takes a metric that is not finite for no improvement", () => {
  const { stoppedAfter, best, reason } = watch([NaN, Infinity, 1]);
  assertEquals([stoppedAfter, best], [2, []]);
  assertStringIncludes(reason, "none had a finite value");
  assertEquals(watch([1, NaN, NaN]).stoppedAfter, 3);
});

Deno.test("EarlyStopping.restore() counts the evaluations of a log, not the one before the first step", () => {
  const stopping = new EarlyStopping(SETTINGS);
  stopping.restore([
    { step: 0, epoch: 0, eval_loss: 1 },
    { step: 1, epoch: 1, loss: 0.5 },
    { step: 1, epoch: 1, eval_loss: 4 },
    // As JSON writes NaN.
    { step: 2, epoch: 2, eval_loss: null as unknown as number },
  ]);
  assertEquals([stopping.withoutImprovement, stopping.stops], [1, false]);
  assertEquals(stopping.observe(4, 3), { isBest: false, stops: true });
});

/** A method whose held-out losses are given, by the step at which it is asked. */
const withLosses = (run: TinySFT, losses: readonly number[]): TrainingMethod => {
  let steps = 0;
  return methodWith(run.method, {
    step: (context) => {
      steps = context.step + 1;
      return run.method.step(context);
    },
    evaluate: () =>
      Promise.resolve({
        metrics: { eval_loss: losses[Math.max(0, steps - 1)], eval_runtime: 1 },
        samples: [],
      }),
  });
};

const EVERY_STEP = [
  "training.max_steps=8",
  "training.logging_steps=1",
  "training.eval_strategy=steps",
  "training.eval_steps=1",
  "training.save_total_limit=null",
  "training.early_stopping_patience=2",
];
const LOSSES = [4, 3, 2, 2.5, 2.4, 1, 1, 1];

const stepsOf = async (folder: string) => (await listCheckpoints(folder)).map(({ step }) => step);

Deno.test("early stopping ends a run, saves its last step, keeps the best weights and says why", async () => {
  await using run = await tinySFT([
    ...EVERY_STEP,
    "training.save_steps=3",
    "training.eval_steps=1",
    "training.load_best_model_at_end=true",
  ]);
  const seen: Map<string, Float32Array>[] = [];
  const trainer = new Trainer(withLosses(run, LOSSES), {
    ...run.options,
    callbacks: [{ onStepEnd: async () => void seen.push(await run.weights()) }],
  });
  const { status, step, reason, evaluation } = await trainer.train();
  assertEquals([status, step, evaluation?.eval_loss], ["stopped", 5, 2.4]);
  assertStringIncludes(reason ?? "", "the best was 2 at step 3");
  assertEquals(await stepsOf(run.folder), [3, 5]);
  // The weights that the optimizer of this trainer holds.
  assertEquals(largestDifference(await run.weights(), seen[2]), 0);
  const { trainer: state } = await readCheckpointState(`${run.folder}/checkpoint-5`);
  assertEquals(state.stateful_callbacks, {
    EarlyStoppingCallback: {
      args: { early_stopping_patience: 2, early_stopping_threshold: 0 },
      attributes: { early_stopping_patience_counter: 2 },
    },
  });
  trainer.dispose();
});

Deno.test("a run that goes on from a checkpoint stops at the same step with the same bytes", async () => {
  const settings = [...EVERY_STEP, "training.save_steps=1"];
  await using whole = await tinySFT(settings);
  const trainer = new Trainer(withLosses(whole, LOSSES), whole.options);
  assertEquals((await trainer.train()).step, 5);
  trainer.dispose();
  // Step 4 was the first without improvement: the count must come from the checkpoint.
  await using again = await tinySFT(settings);
  const second = new Trainer(withLosses(again, LOSSES), again.options);
  assertEquals(await second.resume(`${whole.folder}/checkpoint-4`), 4);
  const { status, step } = await second.train();
  assertEquals([status, step], ["stopped", 5]);
  const bytes = (folder: string, file: string) => Deno.readFile(`${folder}/checkpoint-5/${file}`);
  for (const file of ["model.safetensors", "optimizer.safetensors"]) {
    assertEquals(await bytes(again.folder, file), await bytes(whole.folder, file), file);
  }
  const state = async (folder: string) => {
    const { stateful_callbacks, log_history } =
      (await readCheckpointState(`${folder}/checkpoint-5`)).trainer;
    return { stateful_callbacks, losses: log_history.map(({ eval_loss }) => eval_loss) };
  };
  assertEquals(await state(again.folder), await state(whole.folder));
  second.dispose();
});

Deno.test("a run that was stopped stays stopped when it is resumed, until its patience is raised", async () => {
  await using run = await tinySFT([...EVERY_STEP, "training.save_steps=1"]);
  const first = new Trainer(withLosses(run, LOSSES), run.options);
  await first.train();
  first.dispose();
  const resumed = async (patience: number) => {
    const training = { ...run.options.training, early_stopping_patience: patience };
    const trainer = new Trainer(withLosses(run, LOSSES), { ...run.options, training });
    await trainer.resume(`${run.folder}/checkpoint-5`);
    const { status, step } = await trainer.train();
    trainer.dispose();
    return [status, step];
  };
  assertEquals(await resumed(2), ["stopped", 5]);
  assertEquals(await resumed(3), ["done", 8]);
});

Deno.test("save_strategy best saves after each better evaluation and at no other time", async () => {
  await using run = await tinySFT([
    "training.max_steps=8",
    "training.logging_steps=1",
    "training.eval_strategy=steps",
    "training.eval_steps=2",
    "training.save_strategy=best",
    "training.save_total_limit=null",
    "training.load_best_model_at_end=true",
  ]);
  const seen: Map<string, Float32Array>[] = [];
  const trainer = new Trainer(withLosses(run, [9, 4, 9, 5, 9, 3, 9, 3]), {
    ...run.options,
    callbacks: [{ onStepEnd: async () => void seen.push(await run.weights()) }],
  });
  assertEquals((await trainer.train()).step, 8);
  assertEquals(await stepsOf(run.folder), [2, 6]);
  assertEquals(trainer.bestCheckpoint, `${run.folder}/checkpoint-6`);
  assertEquals(largestDifference(await run.weights(), seen[5]), 0);
  trainer.dispose();
});

Deno.test("eval_on_start logs step 0, counts for nothing, and leaves the run as it is", async () => {
  const settings = [
    "training.max_steps=4",
    "training.logging_steps=1",
    "training.eval_strategy=steps",
    "training.eval_steps=2",
    "training.save_steps=2",
    "training.save_total_limit=null",
    "training.early_stopping_patience=1",
  ];
  await using plain = await tinySFT(settings, { asks: true });
  await plain.trainer.train();
  await using run = await tinySFT([...settings, "training.eval_on_start=true"], { asks: true });
  await run.trainer.train();
  const evaluated = (folder: TinySFT) =>
    folder.metrics().filter((record) => "eval_loss" in record).map(({ step }) => step);
  assertEquals(evaluated(plain), [2, 4]);
  assertEquals(evaluated(run), [0, 2, 4]);
  assertEquals(largestDifference(await run.weights(), await plain.weights()), 0);
  const [start, later] = run.metrics().filter((record) => "eval_loss" in record);
  assert(start.eval_loss > later.eval_loss, "the untrained model is measured");

  // A better loss before the first step is not the best: nothing was saved then.
  await using other = await tinySFT([...settings, "training.eval_on_start=true"]);
  let asked = 0;
  const method = methodWith(other.method, {
    evaluate: () =>
      Promise.resolve({ metrics: { eval_loss: [1, 3, 2][asked++], eval_runtime: 1 }, samples: [] }),
  });
  const trainer = new Trainer(method, other.options);
  assertEquals((await trainer.train()).status, "done");
  assertEquals(trainer.bestCheckpoint, `${other.folder}/checkpoint-4`);
  trainer.dispose();

  // A resumed run does not repeat it.
  await using again = await tinySFT([...settings, "training.eval_on_start=true"]);
  await again.trainer.resume(`${run.folder}/checkpoint-2`);
  await again.trainer.train();
  assertEquals(evaluated(again), [4]);
  assertEquals(largestDifference(await again.weights(), await plain.weights()), 0);
});

Deno.test("an interrupted evaluation before the first step ends the run with nothing saved", async () => {
  const controller = new AbortController();
  await using run = await tinySFT([
    "training.eval_strategy=steps",
    "training.eval_on_start=true",
  ], { signal: controller.signal });
  const method = methodWith(run.method, {
    evaluate: (signal) => {
      controller.abort();
      return run.method.evaluate(signal);
    },
  });
  const trainer = new Trainer(method, run.options);
  const { status, step } = await trainer.train();
  assertEquals([status, step], ["interrupted", 0]);
  assertEquals(await stepsOf(run.folder), []);
  trainer.dispose();
});

Deno.test("rank 0 decides for all ranks, also if its metric is not a number", async () => {
  await using run = await tinySFT([...EVERY_STEP, "training.save_strategy=no"]);
  const losses = [2, NaN, NaN, 1];
  const ends = await Promise.all(
    localRanks(2).map(async (ranks) => {
      let evaluations = 0, steps = 0;
      // The steps themselves compute nothing: what is tested is when both ranks end.
      const method = methodWith(run.method, {
        step: () => {
          steps++;
          return Promise.resolve({
            losses: [],
            tokens: 1,
            padding: 0,
            epoch: steps,
            epochEnded: false,
          });
        },
        evaluate: () => {
          assertEquals(ranks.rank, 0);
          const eval_loss = losses[evaluations++];
          return Promise.resolve({ metrics: { eval_loss, eval_runtime: 1 }, samples: [] });
        },
        release: () => Promise.resolve(),
      });
      const trainer = new Trainer(method, {
        ...run.options,
        groups: run.groups.slice(0, 1),
        ranks,
      });
      const { status, step } = await trainer.train();
      trainer.dispose();
      return { status, step };
    }),
  );
  assertEquals(ends, [{ status: "stopped", step: 3 }, { status: "stopped", step: 3 }]);
});
