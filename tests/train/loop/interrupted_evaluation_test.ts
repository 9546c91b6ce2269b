import { assert, assertEquals, assertRejects } from "@std/assert";
import type { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import { readCheckpointState } from "../../../src/train/checkpoint/run_state.ts";
import { listCheckpoints } from "../../../src/train/checkpoint/checkpoint_folder.ts";
import { Trainer } from "../../../src/train/loop/trainer.ts";
import type { TrainingMethod } from "../../../src/train/loop/training_method.ts";
import * as dpo from "../dpo/tiny_dpo.ts";
import * as grpo from "../grpo/tiny_grpo.ts";
import { methodWith } from "../method_with.ts";
import { tinySFT } from "../sft/tiny_sft.ts";

/** Aborts as soon as the model computes its first batch; counts the batches. */
function abortInFirstBatch(
  model: VisionLanguageModel,
  pass: "labelLogProbs" | "imageFeatures",
): { signal: AbortSignal; batches: () => number } {
  const controller = new AbortController();
  let batches = 0;
  const original = model[pass].bind(model) as (...args: unknown[]) => unknown;
  const counting = (...args: unknown[]) => {
    batches++;
    controller.abort();
    return original(...args);
  };
  Object.defineProperty(model, pass, { value: counting });
  return { signal: controller.signal, batches: () => batches };
}

/** Holds that an evaluation ends after its first batch, and that a later one is whole. */
async function assertStops(
  method: TrainingMethod,
  { signal, batches }: { signal: AbortSignal; batches: () => number },
): Promise<void> {
  const error = await assertRejects(() => method.evaluate(signal));
  assert(error === signal.reason, `${error}`);
  assertEquals(batches(), 1);
  const whole = await method.evaluate();
  assert(batches() > 2, "there were more batches to do");
  assert(whole !== null && Object.keys(whole.metrics).length > 0);
}

const SMALL_BATCHES = "training.per_device_eval_batch_size=2";

Deno.test("an aborted evaluation of SFT ends with the batch that it is at", async () => {
  await using run = await tinySFT([SMALL_BATCHES, "training.eval_strategy=steps"]);
  await assertStops(run.method, abortInFirstBatch(run.prepared.model, "labelLogProbs"));
});

Deno.test("an aborted evaluation of DPO ends with the batch that it is at", async () => {
  using run = await dpo.tinyRun(dpo.tinyConfig([SMALL_BATCHES]));
  await assertStops(run.method, abortInFirstBatch(run.prepared.model, "labelLogProbs"));
});

Deno.test("an aborted evaluation of GRPO ends in its present batch, which is not scored", async () => {
  let scored = 0;
  const scorer = {
    ...grpo.idScorer,
    score: (...args: Parameters<typeof grpo.idScorer.score>) => {
      scored++;
      return grpo.idScorer.score(...args);
    },
  };
  using run = await grpo.tinyRun(grpo.tinyConfig([SMALL_BATCHES]), { scorer });
  const aborted = abortInFirstBatch(run.prepared.model, "imageFeatures");
  await assertRejects(() => run.method.evaluate(aborted.signal));
  assertEquals([aborted.batches(), scored], [1, 0]);
  assert(await run.method.evaluate() !== null);
  assert(scored > 2);
});

for (const saves of ["training.save_steps=2", "training.save_steps=100"]) {
  Deno.test(`a run whose evaluation was aborted has its last step saved, and goes on with that evaluation: ${saves}`, async () => {
    const settings = [
      "training.max_steps=6",
      "training.logging_steps=1",
      "training.eval_strategy=steps",
      "training.eval_steps=2",
      // The schedule follows the evaluations: a missing one would change the weights.
      "training.lr_scheduler_type=reduce_lr_on_plateau",
      "training.lr_scheduler_kwargs={patience: 0, factor: 0.5, threshold: 10}",
      "training.save_total_limit=null",
      "training.metric_for_best_model=eval_loss",
      saves,
    ];
    await using whole = await tinySFT(settings);
    await whole.trainer.train();

    const controller = new AbortController();
    await using stopped = await tinySFT(settings, { signal: controller.signal });
    let evaluations = 0;
    const method = methodWith(stopped.method, {
      evaluate: (signal) => {
        if (++evaluations === 2) controller.abort();
        return stopped.method.evaluate(signal);
      },
    });
    const trainer = new Trainer(method, stopped.options);
    const { status, step } = await trainer.train();
    assertEquals([status, step], ["interrupted", 4]);
    trainer.dispose();
    const saved = `${stopped.folder}/checkpoint-4`;
    assertEquals((await readCheckpointState(saved)).run.unevaluated_step, { epoch_ended: false });

    const stepped: number[] = [];
    await using again = await tinySFT(settings, {
      folder: stopped.folder,
      callbacks: [{ onStepEnd: ({ step }) => void stepped.push(step) }],
    });
    assertEquals(await again.trainer.resume("auto"), 4);
    assertEquals((await again.trainer.train()).status, "done");
    assertEquals(stepped, [4, 5, 6], "step 4 had not come to its end");
    assertEquals(dpo.largestDifference(await again.weights(), await whole.weights()), 0);
    const history = async (folder: string) =>
      (await readCheckpointState(`${folder}/checkpoint-6`)).trainer.log_history.map(
        ({ step, loss, eval_loss, learning_rate }) => ({ step, loss, eval_loss, learning_rate }),
      );
    assertEquals(await history(again.folder), await history(whole.folder));
    const state = await readCheckpointState(saved);
    assertEquals(state.run.unevaluated_step, undefined, "the checkpoint is as it would have been");
    assertEquals(state.trainer.log_history.at(-1)?.step, 4);
    assert("eval_loss" in state.trainer.log_history.at(-1)!);
    assertEquals(
      again.trainer.bestCheckpoint?.split("/").at(-1),
      saves.endsWith("=2") ? whole.trainer.bestCheckpoint?.split("/").at(-1) : "checkpoint-6",
    );
    const steps = (await listCheckpoints(stopped.folder)).map(({ step }) => step);
    assertEquals(steps, saves.endsWith("=2") ? [2, 4, 6] : [4, 6]);
  });
}

Deno.test("an evaluation that fails by itself is no interruption", async () => {
  const controller = new AbortController();
  await using run = await tinySFT(["training.eval_strategy=steps", "training.eval_steps=1"], {
    signal: controller.signal,
  });
  const failing = methodWith(run.method, {
    evaluate: () => {
      controller.abort();
      return Promise.reject(new Error("of its own"));
    },
  });
  const trainer = new Trainer(failing, run.options);
  try {
    await assertRejects(() => trainer.train(), Error, "of its own");
  } finally {
    trainer.dispose();
  }
});
