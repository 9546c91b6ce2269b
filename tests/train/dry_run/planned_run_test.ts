import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { plannedRun, plannedRunLines } from "../../../src/train/dry_run/planned_run.ts";

function configOf(trainingType: "sft" | "grpo", ...overrides: string[]) {
  return parseConfig("", {
    trainingType,
    overrides: [
      "model.model_name_or_path=x",
      "dataset.train_data_path=x",
      ...(trainingType === "grpo"
        ? ["dataset.dataset_format=grpo", "dataset.reward_functions_fn=builtin:accuracy"]
        : []),
      ...overrides,
    ],
  });
}

Deno.test("plannedRun() counts steps and epochs as the trainers do", () => {
  const config = configOf("sft", "training.num_train_epochs=3");
  const { steps, epochs } = plannedRun(config, 130); // 33 batches of 4 an epoch
  assertEquals([steps, epochs], [99, 3]);
  const short = plannedRun(configOf("sft", "training.max_steps=66"), 130);
  assertEquals([short.steps, short.epochs], [66, 2]);
  const grpo = plannedRun(
    configOf("grpo", "training.num_train_epochs=1", "grpo.num_iterations=2"),
    10,
  );
  assertEquals([grpo.steps, grpo.epochs, grpo.samples], [5, 1, true]);
});

Deno.test("plannedRun() of a stream needs max_steps", () => {
  assertEquals(plannedRun(configOf("sft", "training.max_steps=9"), null).epochs, null);
  assertThrows(() => plannedRun(configOf("sft"), null), Error, "set training.max_steps");
});

Deno.test("plannedRunLines() tells steps, epochs, the rhythm and the time", () => {
  const config = configOf(
    "sft",
    "training.num_train_epochs=3",
    "training.gradient_accumulation_steps=2",
  );
  const lines = plannedRunLines(plannedRun(config, 130), 0.5);
  assertEquals(
    lines[0],
    "run: 51 steps of 8 examples, 3.00 epochs of the training rows; logs every 3 steps, " +
      "evaluates every 11 steps, saves every 17 steps",
  );
  assertMatch(lines[1], /^time: at most about 51s/);
});
