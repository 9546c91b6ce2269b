/** Runs that really go wrong, and what they say of it in metrics.jsonl and in the report. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Row } from "../../../src/data/rows/row.ts";
import { shapeRows, type TinyOptions, tinySFT } from "../sft/tiny_sft.ts";

const COMMON = [
  "training.per_device_train_batch_size=8",
  "training.logging_steps=1",
  "training.save_strategy=no",
];

/** The concerns of each record, and the messages of the finished report. */
async function concernsOf(settings: readonly string[], options: TinyOptions = {}) {
  await using run = await tinySFT([...COMMON, ...settings], options);
  await run.trainer.train();
  const records = run.metrics() as unknown as { concerns?: string }[];
  await run.options.reporter.onEnd({ status: "done" });
  const report = await Deno.readTextFile(`${run.folder}/report.html`);
  const [status] = /(✓ done|! finished, with doubts)/.exec(report) ?? [""];
  const [, message = ""] = /<p class="notice warn">([^<]*)</.exec(report.split("<main>")[0]) ?? [];
  return { concerns: records.map(({ concerns = "" }) => concerns), status, message };
}

Deno.test("a healthy run has no concern", async () => {
  const { concerns, status, message } = await concernsOf([
    "training.max_steps=24",
    "training.eval_strategy=steps",
    "training.eval_steps=8",
  ]);
  assertEquals([...new Set(concerns), status, message], ["", "✓ done", ""]);
});

Deno.test("a learning rate that is far too high: the loss explodes", async () => {
  const { concerns, status, message } = await concernsOf([
    "training.max_steps=12",
    "training.learning_rate=1",
    "training.max_grad_norm=0",
  ]);
  assertStringIncludes(concerns.join(), "loss_exploding");
  assertEquals(status, "! finished, with doubts");
  assertStringIncludes(message, "lower training.learning_rate");
});

Deno.test("a learning rate that grows too high: the loss falls, then rises", async () => {
  const { concerns } = await concernsOf([
    "training.max_steps=40",
    "training.learning_rate=0.1",
    "training.lr_scheduler_type=constant_with_warmup",
    "training.warmup_steps=40",
  ]);
  assertStringIncludes(concerns.join(), "loss_rising");
});

Deno.test("a learning rate that is far too low: nothing is learnt after a tenth of the run", async () => {
  const { concerns, status, message } = await concernsOf([
    "training.max_steps=20",
    "training.learning_rate=1e-9",
    "training.lr_mp=1e-9",
  ]);
  assertEquals(concerns[2], "");
  assertEquals(concerns.at(-1), "nothing_learnt");
  assertEquals(status, "! finished, with doubts");
  assertStringIncludes(message, "Nothing is learnt");
});

Deno.test("only the projector trains, on rows without pictures: every gradient is 0", async () => {
  const rows: Row[] = shapeRows().map(({ texts }) => ({ texts }));
  const { concerns } = await concernsOf([
    "training.max_steps=3",
    "training.lr_language_backbone=0",
    "training.lr_vision_backbone=0",
  ], { rows });
  assertStringIncludes(concerns.at(-1)!, "gradient_zero");
});

Deno.test("a schedule that ends before the run: the learning rate is 0", async () => {
  const { concerns } = await concernsOf([
    "training.max_steps=8",
    "training.lr_scheduler_type=warmup_stable_decay",
    "training.lr_scheduler_kwargs={num_decay_steps: 2, num_stable_steps: 1}",
  ]);
  assertEquals(concerns.findIndex((names) => names.includes("learning_rate_zero")), 4);
});

/** The same pictures and questions with other answers. */
function wrongRows(): Row[] {
  return shapeRows().map((row) => ({
    ...row,
    texts: (row.texts as { user: string; assistant: string }[])
      .map(({ user, assistant }, i, all) => ({
        user,
        assistant: all[(i + 1) % all.length].assistant + assistant.slice(0, 0),
      })),
  }));
}

Deno.test("held-out answers that the training rows contradict: the held-out loss rises", async () => {
  const { concerns, status, message } = await concernsOf([
    "training.max_steps=60",
    "training.logging_steps=10",
    "training.eval_strategy=steps",
    "training.eval_steps=5",
  ], { heldOut: wrongRows() });
  assertStringIncludes(concerns.join(), "held_out_loss_rising");
  assertEquals(status, "! finished, with doubts");
  assertStringIncludes(message, "by heart");
});

Deno.test("training rows that all have one answer: so do all held-out questions", async () => {
  const rows = shapeRows().map((row) => ({
    ...row,
    texts: (row.texts as { user: string }[]).map(({ user }) => ({ user, assistant: "red" })),
  }));
  const { concerns } = await concernsOf([
    "training.max_steps=20",
    "training.eval_strategy=steps",
    "training.eval_steps=20",
  ], { rows, heldOut: shapeRows(), asks: true });
  assertStringIncludes(concerns.at(-1)!, "answers_alike");
});

Deno.test("a long warmup: nothing is learnt at first, and a run that recovers is done", async () => {
  const { concerns, status } = await concernsOf([
    "training.max_steps=90",
    "training.learning_rate=1e-4",
    "training.lr_mp=1e-4",
    "training.lr_scheduler_type=constant_with_warmup",
    "training.warmup_steps=90",
  ]);
  assertStringIncludes(concerns.join(), "nothing_learnt");
  assertEquals([concerns.at(-1), status], ["", "✓ done"]);
});
