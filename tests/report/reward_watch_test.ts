import { assertEquals, assertStringIncludes } from "@std/assert";
import type { MetricsRecord } from "../../src/report/files/metrics_record.ts";
import { RewardWatch } from "../../src/report/reward_watch.ts";

function observeAll(count: number, record: (step: number) => MetricsRecord): string[] {
  const watch = new RewardWatch();
  return Array.from({ length: count }, (_, i) => watch.observe(record(i + 1))).flat();
}

const HEALTHY = (step: number): MetricsRecord => ({
  step,
  reward: step,
  kl: 0.01,
  frac_reward_zero_std: 0.5,
  "completions/clipped_ratio": 0.1,
  "rewards/format/mean": 1,
  "rewards/format/std": 0.1,
  "rewards/rare/mean": step % 5 === 0 ? 1 : null,
});

Deno.test("RewardWatch is silent about a healthy run, and about one without rewards", () => {
  assertEquals(observeAll(100, HEALTHY), []);
  assertEquals(observeAll(100, (step) => ({ step, loss: 1, kl: 50 })), []);
});

Deno.test("RewardWatch warns once about each problem, and says what to do", () => {
  for (
    const [change, wanted] of [
      [{ "completions/clipped_ratio": 0.6 }, "max_completion_length"],
      [{ frac_reward_zero_std: 1 }, "Every advantage is zero"],
      [{ kl: 3 }, "grpo.beta"],
      [{ "rewards/format/std": 0 }, "format gives 1 to everything"],
      [{ "rewards/rare/mean": null }, "rare has scored nothing"],
    ] as const
  ) {
    const warnings = observeAll(60, (step) => ({ ...HEALTHY(step), ...change }));
    assertEquals(warnings.length, 1, warnings.join("\n"));
    assertStringIncludes(warnings[0], wanted);
  }
});

Deno.test("RewardWatch finds nothing wrong with equal rewards that are higher than at first", () => {
  const namesAfter = (reward: (step: number) => number) => {
    const watch = new RewardWatch();
    for (let step = 1; step <= 60; step++) {
      const spread: Record<string, number> = step < 20
        ? {}
        : { frac_reward_zero_std: 1, "rewards/format/std": 0 };
      watch.observe({ ...HEALTHY(step), reward: reward(step), ...spread });
    }
    return watch.active.map(({ name }) => name);
  };
  assertEquals(namesAfter((step) => Math.min(1, step / 20)), []);
  assertEquals(namesAfter(() => 0.2), ["no_spread", "still format"]);
});

Deno.test("RewardWatch warns only if a problem lasts for several logging steps", () => {
  const passing = (step: number): MetricsRecord => ({
    ...HEALTHY(step),
    kl: step % 5 === 0 ? 0.1 : 9,
    "completions/clipped_ratio": step % 5 === 0 ? 0.5 : 1,
  });
  assertEquals(observeAll(60, passing), []);
});
