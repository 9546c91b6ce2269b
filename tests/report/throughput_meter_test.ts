import { assertAlmostEquals, assertEquals } from "@std/assert";
import { PeakMemory } from "../../src/report/peak_memory.ts";
import { ThroughputMeter } from "../../src/report/throughput_meter.ts";

Deno.test("ThroughputMeter knows nothing before the first step", () => {
  const meter = new ThroughputMeter(1000, () => 0);
  assertEquals([meter.tokensPerSecond, meter.secondsLeft(10)], [null, null]);
  meter.start(5);
  assertEquals([meter.tokensPerSecond, meter.secondsLeft(10)], [null, null]);
});

Deno.test("ThroughputMeter follows the pace of the last window, from a resumed step on", () => {
  let now = 0;
  const meter = new ThroughputMeter(1000, () => now);
  meter.start(100);
  for (let step = 101; step <= 120; step++) {
    now += 500;
    meter.add(step, 50);
  }
  assertAlmostEquals(meter.tokensPerSecond ?? 0, 100);
  assertAlmostEquals(meter.secondsLeft(160) ?? 0, 20);
  for (let step = 121; step <= 140; step++) {
    now += 100;
    meter.add(step, 50);
  }
  assertAlmostEquals(meter.tokensPerSecond ?? 0, 500);
  assertAlmostEquals(meter.secondsLeft(160) ?? 0, 2);
});

Deno.test("ThroughputMeter leaves out time that was not training", () => {
  let now = 0;
  const meter = new ThroughputMeter(60_000, () => now);
  meter.start(0);
  now += 1000;
  meter.add(1, 100);
  now += 9000;
  meter.exclude(9000);
  now += 1000;
  meter.add(2, 100);
  assertAlmostEquals(meter.tokensPerSecond ?? 0, 100);
});

Deno.test("PeakMemory keeps the highest it saw", () => {
  const seen = [3, 9, 4];
  const memory = new PeakMemory(() => seen.shift() ?? 0);
  assertEquals([memory.sample(), memory.sample(), memory.sample()], [3, 9, 9]);
  assertEquals(new PeakMemory().sample() > 1e6, true);
});
