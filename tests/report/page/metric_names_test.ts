import { assertEquals } from "@std/assert";
import { plainName } from "../../../src/report/page/metric_names.ts";

Deno.test("plainName() says what a metric is, and held-out ones as such", () => {
  assertEquals(plainName("loss"), "training loss");
  assertEquals(plainName("eval_loss"), "held-out loss");
  assertEquals(plainName("rewards/accuracy/mean"), "mean of accuracy");
  assertEquals(plainName("eval_rewards/margins"), "held-out margin: chosen minus rejected");
  assertEquals(plainName("clip_ratio/low_mean"), "clipped ratios, low mean");
});

Deno.test("plainName() has no name for keys that it does not know, inherited ones neither", () => {
  assertEquals([plainName("my_metric"), plainName("constructor"), plainName("eval_toString")], [
    null,
    null,
    null,
  ]);
});
