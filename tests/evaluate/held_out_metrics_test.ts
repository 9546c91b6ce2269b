import { assert, assertEquals, assertRejects } from "@std/assert";
import { evaluateVqa } from "../../src/evaluate/evaluate_vqa.ts";
import { METRIC_NAMES, METRIC_REQUESTS } from "../../src/metric_names.ts";
import { parseMetric } from "../../src/evaluate/metrics/metric_tally.ts";
import { datasetFromRows } from "../../src/data/load_dataset.ts";
import { heldOutMetrics } from "../../src/evaluate/held_out_metrics.ts";
import { parseConfig } from "../../src/config/load_config.ts";
import { EMBEDDED_CONFIGS } from "../../src/config/embedded/embedded_configs.ts";
import { ConfigError } from "../../src/config/config_error.ts";
import * as dpo from "../train/dpo/tiny_dpo.ts";
import * as grpo from "../train/grpo/tiny_grpo.ts";
import { shapeRows, tinySFT } from "../train/sft/tiny_sft.ts";

const EVAL_METRICS = "training.eval_metrics=[exact_match, token_f1, vqa_accuracy:textvqa, yes_no]";

Deno.test("SFT's evaluation logs eval_metrics, the numbers of eval on the same questions", async () => {
  const rows = shapeRows(3);
  const overrides = [
    "training.eval_strategy=steps",
    "training.eval_steps=4",
    "training.save_strategy=steps",
    "training.save_steps=4",
    "training.load_best_model_at_end=true",
    "training.metric_for_best_model=token_f1",
    "training.learning_rate=3e-2",
    EVAL_METRICS,
  ];
  await using run = await tinySFT(overrides, { rows, heldOut: rows });
  await run.trainer.train();
  const evaluated = run.metrics().find((record) => "eval_loss" in record)!;
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  const metrics = run.config.training.eval_metrics.map(parseMetric);
  const wanted = await evaluateVqa(run.prepared, dataset, { metrics, maxNewTokens: 64 });
  for (const [name, { overall }] of wanted.metrics) {
    assertEquals(evaluated[`eval_${name}`], overall.mean, name);
  }
  assertEquals(evaluated.eval_exact_match, wanted.exactMatch);
  assertEquals(Object.keys(evaluated).filter((name) => name.startsWith("eval_yes_no")), [
    "eval_yes_no",
    ...["accuracy", "precision", "recall", "f1", "yes_ratio"].map((part) => `eval_yes_no_${part}`),
  ]);
  assert(run.trainer.bestCheckpoint!.endsWith("checkpoint-4"));
});

Deno.test("heldOutMetrics() asks at most so many questions, the same ones each time", async () => {
  await using run = await tinySFT();
  const dataset = await datasetFromRows(shapeRows(6), { format: "vqa" });
  const asked: number[][] = [];
  const select = dataset.select.bind(dataset);
  dataset.select = (indices) => {
    asked.push([...indices]);
    return select(indices);
  };
  const options = {
    metrics: [{ name: "token_f1" as const }],
    questions: 3,
    maxNewTokens: 4,
    batchSize: 2,
  };
  const first = await heldOutMetrics(run.prepared, dataset, options);
  assertEquals(await heldOutMetrics(run.prepared, dataset, options), first);
  assertEquals(asked[0].length, 3);
  assertEquals(asked[1], asked[0]);
  const stop = new AbortController();
  stop.abort(new Error("stopped by the test"));
  await assertRejects(
    () => heldOutMetrics(run.prepared, dataset, { ...options, signal: stop.signal }),
    Error,
    "stopped by the test",
  );
});

Deno.test("DPO's evaluation scores answers to its prompts: the chosen answer is the accepted one", async () => {
  const config = dpo.tinyConfig([EVAL_METRICS, "training.eval_metrics_questions=4"]);
  using run = await dpo.tinyRun(config);
  const { metrics } = (await run.method.evaluate())!;
  assert(metrics.eval_token_f1 >= 0 && metrics.eval_token_f1 <= 1);
  assert("eval_preference_accuracy" in metrics && "eval_vqa_accuracy" in metrics);
});

Deno.test("GRPO's evaluation scores the answers that it rewards, and needs a column of answers", async () => {
  const config = grpo.tinyConfig([EVAL_METRICS]);
  using run = await grpo.tinyRun(config, { rows: grpo.shapeRows() });
  const { metrics, samples } = (await run.method.evaluate())!;
  assertEquals(samples.length, grpo.shapeRows().length, "as few are all shown");
  assert(metrics.eval_exact_match >= 0 && metrics.eval_token_f1 <= 1);
  const rows = grpo.shapeRows().map((row) => {
    const { answer: _answer, solution: _solution, ...rest } = row;
    return rest;
  });
  await assertRejects(() => grpo.tinyRun(config, { rows }), Error, "training.eval_metrics");
});

Deno.test("training.eval_metrics takes every metric with its styles, and refuses another name", () => {
  assertEquals(
    METRIC_REQUESTS.map((name) => parseMetric(name).name).length,
    METRIC_REQUESTS.length,
  );
  assert(METRIC_NAMES.every((name) => METRIC_REQUESTS.includes(name)));
  try {
    parseConfig(EMBEDDED_CONFIGS.sft.text, { overrides: ["training.eval_metrics=[anl]"] });
  } catch (error) {
    assert(error instanceof ConfigError && error.message.includes("anls"), String(error));
    return;
  }
  throw new Error("the config was accepted");
});
