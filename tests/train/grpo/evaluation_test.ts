import { assert, assertEquals } from "@std/assert";
import type { Completion } from "../../../src/train/grpo/sampling.ts";
import { GRPOPromptMaker } from "../../../src/train/grpo/prompts.ts";
import { idScorer, shapeRows, tinyConfig, tinyRun } from "./tiny_grpo.ts";

/** Evaluates by batches of a size; the answers in their order, and how many decodings there were. */
async function evaluate(batchSize: number, settings: readonly string[] = []) {
  const batches: number[] = [];
  const answers: Completion[] = [];
  const scorer: typeof idScorer = {
    ...idScorer,
    score: (prompts, completions, state) => {
      batches.push(prompts.length);
      answers.push(...completions);
      return idScorer.score(prompts, completions, state);
    },
  };
  const rows = shapeRows();
  const config = tinyConfig([
    `training.per_device_eval_batch_size=${batchSize}`,
    "grpo.max_completion_length=6",
    ...settings,
  ]);
  using run = await tinyRun(config, { scorer, rows });
  const { model } = run.prepared;
  let prefills = 0;
  const imageFeatures = model.imageFeatures.bind(model);
  model.imageFeatures = (...inputs) => {
    prefills++;
    return imageFeatures(...inputs);
  };
  const outcome = await run.method.evaluate();
  const questions = outcome!.all!.map(({ question }) => question);
  return { batches, prefills, answers, questions, metrics: outcome!.metrics, rows: rows.length };
}

Deno.test("GRPO's evaluation answers a batch of prompts side by side, as it would one by one", async () => {
  const alone = await evaluate(1), together = await evaluate(8);
  const { rows } = together;
  assert(rows % 8 > 1, "the last batch is smaller");
  assertEquals(alone.prefills, rows);
  assertEquals(together.prefills, Math.ceil(rows / 8));
  assertEquals(together.batches.at(-1), rows % 8);
  const tokens = (answers: Completion[]) => answers.map(({ tokens }) => tokens);
  assertEquals(tokens(together.answers), tokens(alone.answers));
  assertEquals(together.questions, alone.questions, "in the data's order");
  for (const name of ["eval_reward", "eval_rewards/ids/mean", "eval_completions/mean_length"]) {
    assertEquals(together.metrics[name], alone.metrics[name], name);
  }
  assertEquals(tokens((await evaluate(8)).answers), tokens(together.answers));
});

Deno.test("num_generations_eval answers are sampled to each prompt, the same whatever the batch", async () => {
  const settings = ["grpo.num_generations_eval=3"];
  const alone = await evaluate(1, settings), together = await evaluate(8, settings);
  assertEquals(together.answers.length, 3 * together.rows);
  const tokens = (answers: Completion[]) => answers.map(({ tokens }) => tokens.join(" "));
  assertEquals(tokens(together.answers), tokens(alone.answers));
  const groups = together.answers.slice(0, 3).map(({ tokens }) => tokens.join(" "));
  assert(new Set(groups).size > 1, "answers of a group differ");
  assertEquals(together.questions, (await evaluate(8)).questions, "each question is shown once");
});

Deno.test("GRPO's evaluation makes a batch of prompts at once, and skips those it cannot use", async () => {
  const [good] = shapeRows();
  const broken = { ...good, images: [{ bytes: new Uint8Array([1, 2, 3]), path: "broken.png" }] };
  const rows = [...shapeRows(), broken];
  const original = GRPOPromptMaker.prototype.make;
  let running = 0, most = 0;
  GRPOPromptMaker.prototype.make = async function (...inputs) {
    most = Math.max(most, ++running);
    try {
      await new Promise((resolve) => setTimeout(resolve, 20)); // as if a thread decoded
      return await original.apply(this, inputs);
    } finally {
      running--;
    }
  };
  try {
    using run = await tinyRun(tinyConfig(["training.per_device_eval_batch_size=4"]), { rows });
    const { metrics } = (await run.method.evaluate())!;
    assert(Number.isFinite(metrics.eval_reward));
    assertEquals(most, 4);
    const { rows: skipped, total } = run.method.skippedRows();
    assertEquals([skipped.length, total], [1, rows.length]);
    assert(skipped[0].place.includes(`${rows.length - 1}`), skipped[0].place);
  } finally {
    GRPOPromptMaker.prototype.make = original;
  }
});
