import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { RowSkipped } from "../../../src/data/data_error.ts";
import { fitPrompt } from "../../../src/train/grpo/prompts.ts";
import { shapeRows, tinyConfig, tinyRun } from "./tiny_grpo.ts";

const IMAGE = 99;
// header, two image tokens, text 1 … 5, footer
const prompt = [50, 51, IMAGE, IMAGE, 1, 2, 3, 4, 5, 60, 61];
const frame = [50, 51, IMAGE, IMAGE, 60, 61];

Deno.test("fitPrompt() leaves a prompt that fits", () => {
  assertEquals(fitPrompt(prompt, frame, 11, IMAGE), prompt);
});

Deno.test("fitPrompt() cuts text from the left, never images or the chat template", () => {
  assertEquals(fitPrompt(prompt, frame, 8, IMAGE), [50, 51, IMAGE, IMAGE, 4, 5, 60, 61]);
  assertEquals(fitPrompt(prompt, frame, 6, IMAGE), frame);
});

Deno.test("fitPrompt() keeps text whose last token is also the footer's first", () => {
  const doubled = [50, 1, 2, 60, 60, 61];
  assertEquals(fitPrompt(doubled, [50, 60, 61], 5, IMAGE), [50, 2, 60, 60, 61]);
});

Deno.test("fitPrompt() skips a prompt that is too long because of its images, and says so", () => {
  assertThrows(
    () => fitPrompt(prompt, frame, 5, IMAGE),
    RowSkipped,
    "Cannot fit 11 prompt tokens into max_prompt_length 5: 2 of them are image tokens",
  );
});

Deno.test("a prompt too long because of its image is counted and named, and too many stop", async () => {
  const rows = shapeRows(8);
  const [{ images }] = rows;
  // Five pictures in one prompt of twelve: more image tokens than fit.
  const long = { ...rows[0], images: Array.from({ length: 12 }, () => (images as unknown[])[0]) };
  const many = [...Array.from({ length: 3 }, () => rows).flat(), long] as typeof rows;
  using run = await tinyRun(
    tinyConfig([
      "grpo.max_prompt_length=48",
      `training.per_device_train_batch_size=${many.length}`,
      "grpo.num_generations=2",
      "grpo.max_completion_length=1",
    ]),
    { rows: many },
  );
  await run.update(0);
  const { rows: skipped, total } = run.method.skippedRows();
  assertEquals([skipped.length, total], [1, many.length]);
  assertEquals(/image tokens/.test(skipped[0].reason), true, skipped[0].reason);

  using hopeless = await tinyRun(tinyConfig(["grpo.max_prompt_length=3"]));
  await assertRejects(() => hopeless.update(0), Error, "more than 10 %");
});
