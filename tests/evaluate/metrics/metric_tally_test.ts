import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  bootstrapMean,
  MetricTally,
  parseMetric,
} from "../../../src/evaluate/metrics/metric_tally.ts";
import { RandomStream } from "../../../src/random.ts";

Deno.test("bootstrapMean() holds the true mean in about 95 of 100 data sets", () => {
  const random = new RandomStream(1, "data");
  let held = 0;
  for (let trial = 0; trial < 300; trial++) {
    const values = Array.from({ length: 60 }, () => random.nextFloat() < 0.3 ? 1 : 0);
    const { low, high } = bootstrapMean(values, trial);
    if (low <= 0.3 && 0.3 <= high) held++;
  }
  assert(held / 300 > 0.89 && held / 300 < 0.99, `${held} of 300`);
});

Deno.test("bootstrapMean() of equal values has no width, and of none is 0", () => {
  assertEquals(bootstrapMean([1, 1, 1]), { questions: 3, mean: 1, low: 1, high: 1 });
  assertEquals(bootstrapMean([]), { questions: 0, mean: 0, low: 0, high: 0 });
});

Deno.test("MetricTally scores by several metrics, with precision and recall of yes_no", () => {
  const tally = new MetricTally([{ name: "yes_no" }, { name: "anls" }]);
  assertEquals(tally.add("yes", ["yes"], "a"), { yes_no: 1, anls: 1 });
  assertEquals(tally.add("yes", ["no"], "b"), { yes_no: 0, anls: 0 });
  const { overall, byGroup, further } = tally.scores.get("yes_no")!;
  assertEquals(overall.mean, 0.5);
  assertEquals([...byGroup.keys()], ["a", "b"]);
  assertEquals(further.precision, 0.5);
  assertEquals(tally.scores.get("anls")!.further, {});
});

Deno.test("parseMetric() reads a name with a style, and names what is wrong", () => {
  assertEquals(parseMetric("anls"), { name: "anls" });
  assertEquals(parseMetric("vqa_accuracy:textvqa"), { name: "vqa_accuracy", style: "textvqa" });
  assertThrows(() => parseMetric("cider"), RangeError, "Unknown metric cider; want one of");
  assertThrows(() => parseMetric("anls:x"), RangeError, "Unknown style x of anls; want none");
});
