import { assertEquals, assertStringIncludes } from "@std/assert";
import { RandomStream } from "../../../src/random.ts";
import type { MetricsRecord } from "../../../src/report/files/metrics_record.ts";
import { RunWatch } from "../../../src/report/watch/run_watch.ts";

const STEPS = 100;

/** Names of what is reported, with the step, and what is active at the end. */
function watch(records: readonly MetricsRecord[], totalSteps = STEPS) {
  const run = new RunWatch(totalSteps);
  const reported = records.flatMap((record) =>
    run.observe(record).map(({ name }) => `${name} at ${record.step}`)
  );
  return { reported, active: run.active.map(({ name }) => name) };
}

const logs = (count: number, loss: (step: number) => number): MetricsRecord[] =>
  Array.from({ length: count }, (_, i) => ({
    step: i + 1,
    loss: loss(i + 1),
    grad_norm: 1,
    learning_rate: 1e-4,
  }));

Deno.test("RunWatch is quiet in healthy runs, with the noise of small batches", () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new RandomStream(seed, "run watch");
    const noise = () => 1 + 0.1 * random.nextNormal();
    assertEquals(watch(logs(STEPS, (step) => (0.5 + 4 / step) * noise())).reported, []);
    assertEquals(watch(logs(STEPS, (step) => 4 * Math.exp(-step / 30) * noise())).reported, []);
    const slow = logs(STEPS, (step) => (0.69 - 0.004 * step) * (1 + 0.01 * random.nextNormal()));
    assertEquals(watch(slow).reported, []);
  }
});

Deno.test("RunWatch leaves GRPO to its own watch: a loss near 0 and no gradient mean nothing", () => {
  const records = logs(STEPS, (step) => 1e-9 * Math.sin(step))
    .map((record) => ({ ...record, reward: 0.5, grad_norm: 0 }));
  assertEquals(watch(records).reported, []);
});

Deno.test("RunWatch reports a concern once, and drops it when the run recovers", () => {
  const bumpy = (step: number) => step < 30 ? 4 - step / 10 : step < 50 ? 3 : 0.5;
  const { reported, active } = watch(logs(STEPS, bumpy));
  assertEquals(reported.length, 1, reported.join());
  assertStringIncludes(reported[0], "loss_rising");
  assertEquals(active, []);
});

Deno.test("RunWatch needs two evaluations above the lowest held-out loss", () => {
  const evaluations = (losses: readonly number[]): MetricsRecord[] =>
    losses.map((eval_loss, i) => ({ step: 10 * (i + 1), eval_loss, eval_runtime: 1 }));
  assertEquals(watch(evaluations([2, 1, 1.2])).active, []);
  assertEquals(watch(evaluations([2, 1, 1.01, 1.02])).active, []);
  assertEquals(watch(evaluations([2, 1, 1.1, 1.2])).active, ["held_out_loss_rising"]);
  assertEquals(watch(evaluations([2, 1, 1.1, 1.2, 0.9])).active, []);
  // A loss that is not a number says nothing about the others.
  assertEquals(watch(evaluations([2, NaN, NaN])).active, []);
  assertEquals(watch(evaluations([2, 1, NaN, 1.1, 1.2])).active, ["held_out_loss_rising"]);
});
