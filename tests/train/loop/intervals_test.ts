import { assertEquals } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { dueWork } from "../../../src/train/loop/due_work.ts";
import { pacedTraining } from "../../../src/train/loop/intervals.ts";

function trainingOf(overrides: readonly string[]) {
  return parseConfig("", {
    trainingType: "sft",
    overrides: ["model.model_name_or_path=x", "dataset.train_data_path=x", ...overrides],
  }).training;
}

function steps(totalSteps: number, ...overrides: string[]): number[] {
  const paced = pacedTraining(trainingOf(overrides), totalSteps);
  return [paced.logging_steps, paced.eval_steps, paced.save_steps];
}

Deno.test("a run logs about 20 times, evaluates about 5 times and saves about 3 times by default", () => {
  assertEquals(steps(200), [10, 40, 67]);
  assertEquals(steps(14), [1, 3, 5]);
  assertEquals(steps(1), [1, 1, 1]);
});

Deno.test("a long run logs, evaluates and saves as often as NanoVLM-Lab's", () => {
  assertEquals(steps(100_000), [100, 500, 500]);
  const { logging_steps, eval_steps, save_steps } = pacedTraining(trainingOf([]), 100_000, "grpo");
  assertEquals([logging_steps, eval_steps, save_steps], [10, 50, 100]);
});

Deno.test("a key that is set keeps its value in a run of any length", () => {
  const set = ["training.logging_steps=7", "training.eval_steps=11", "training.save_steps=13"];
  assertEquals(steps(5, ...set), [7, 11, 13]);
  assertEquals(steps(5000, ...set), [7, 11, 13]);
});

Deno.test("with load_best_model_at_end every checkpoint falls on an evaluation", () => {
  const best = "training.load_best_model_at_end=true";
  for (let total = 1; total <= 300; total++) {
    for (const given of [[], ["training.save_steps=12"], ["training.eval_steps=7"]]) {
      const [, evaluation, save] = steps(total, best, ...given);
      assertEquals(save % evaluation, 0, `${total} steps with ${given}: ${save}, ${evaluation}`);
    }
  }
});

Deno.test("the last step is evaluated unless eval_steps is set", () => {
  const last = { step: 14, totalSteps: 14, epochEnded: true };
  const evaluates = (...overrides: string[]) =>
    dueWork(pacedTraining(trainingOf(overrides), 14), last).evaluate;
  assertEquals(evaluates(), true);
  assertEquals(evaluates("training.eval_steps=4"), false);
  assertEquals(evaluates("training.eval_strategy=no"), false);
});
