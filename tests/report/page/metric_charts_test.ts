import { assert, assertEquals } from "@std/assert";
import { metricCharts, thinLine } from "../../../src/report/page/metric_charts.ts";

Deno.test("metricCharts() puts together what is compared, the main charts first", () => {
  const charts = metricCharts([
    { step: 0, eval_loss: 3, eval_exact_match: 0.1 },
    {
      step: 1,
      epoch: 0.1,
      custom: 1,
      "rewards/b/mean": 1,
      "rewards/a/mean": 0,
      "rewards/a/std": 0,
      tokens_per_second: 9,
      padding_share: 0.2,
      "learning_rate/vision": 0.5,
      learning_rate: 1,
      loss: 2,
      words: "none",
      nothing: null,
    },
  ]);
  assertEquals(charts.map((c) => [c.title, c.primary, c.series.map((s) => s.key)]), [
    ["Loss", true, ["loss", "eval_loss"]],
    ["Held-out accuracy", true, ["eval_exact_match"]],
    ["Reward functions: mean", true, ["rewards/b/mean", "rewards/a/mean"]],
    ["Learning rate", true, ["learning_rate/vision", "learning_rate"]],
    ["Reward functions: spread", false, ["rewards/a/std"]],
    ["Speed", false, ["tokens_per_second"]],
    ["Padding", false, ["padding_share"]],
    ["custom", false, ["custom"]],
  ]);
});

Deno.test("metricCharts() takes the later of two values at one step", () => {
  const [chart] = metricCharts([{ step: 1, loss: 1 }, { step: 1, loss: 2 }, { step: 2, loss: 3 }]);
  assertEquals(chart.series, [{
    key: "loss",
    name: "training loss",
    steps: [1, 2],
    values: [2, 3],
  }]);
});

Deno.test("thinLine() keeps the ends and every spike", () => {
  const steps = Array.from({ length: 10_000 }, (_, i) => i);
  const values = steps.map((i) => i === 4321 ? 50 : i === 7777 ? -50 : Math.sin(i / 500));
  const thin = thinLine(steps, values, 300);
  assert(thin.steps.length <= 300);
  assertEquals([thin.steps[0], thin.steps.at(-1)], [0, 9999]);
  assertEquals([Math.max(...thin.values), Math.min(...thin.values)], [50, -50]);
  assertEquals(thin.steps.toSorted((a, b) => a - b), thin.steps);
  assertEquals(thinLine([1, 2], [0.123456789, 2], 300), { steps: [1, 2], values: [0.123457, 2] });
});

Deno.test("every chart that has a rule names the unit of its vertical axis", () => {
  const units = metricCharts([{ step: 1, loss: 1, tokens_per_second: 5, "time/decode": 2, own: 3 }])
    .map(({ title, unit }) => [title, unit]);
  assertEquals(units, [
    ["Loss", "loss (SFT: nats a token)"],
    ["Speed", "tokens a second"],
    ["Where the time goes", "seconds a step"],
    ["own", "value"],
  ]);
});

Deno.test("a GRPO run is drawn by its reward first, and its loss is folded away", () => {
  const charts = metricCharts([{ step: 1, loss: 1e-17, reward: 0.5, eval_reward: 0.4 }]);
  assertEquals(charts.map(({ title, primary }) => [title, primary]), [
    ["Reward", true],
    ["Loss", false],
  ]);
});

Deno.test("rates of groups are drawn if they differ from the run's own", () => {
  const keys = (vision: number) =>
    metricCharts([{
      step: 1,
      learning_rate: 1,
      "learning_rate/lora": 1,
      "learning_rate/v": vision,
    }])
      .flatMap(({ series }) => series.map(({ key }) => key));
  assertEquals(keys(1), ["learning_rate"]);
  assertEquals(keys(2), ["learning_rate", "learning_rate/v"]);
});
