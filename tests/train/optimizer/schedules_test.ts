import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  createSchedule,
  SCHEDULE_NAMES,
  type ScheduleArguments,
  type ScheduleName,
  warmupStepCount,
} from "../../../src/train/optimizer/schedules.ts";

function make(
  name: ScheduleName,
  args: ScheduleArguments = {},
  groupLearningRates: number[] = [1e-3],
) {
  return createSchedule({
    name,
    warmupSteps: 4,
    totalSteps: 20,
    baseLearningRate: 1e-3,
    groupLearningRates,
    arguments: args,
  });
}

Deno.test("a schedule with linear warmup starts at 0 and reaches 1 when the warmup ends", () => {
  for (const name of SCHEDULE_NAMES) {
    const args: ScheduleArguments = name.includes("min_lr")
      ? { min_lr_rate: 0.1 }
      : name === "warmup_stable_decay"
      ? { num_decay_steps: 4 }
      : {};
    const schedule = make(name, args);
    if (["constant", "reduce_lr_on_plateau", "greedy"].includes(name)) {
      assertEquals(schedule.multiplier(0), 1, name);
    } else if (["cosine_warmup_with_min_lr", "nanovlm_cosine"].includes(name)) {
      assertAlmostEquals(schedule.multiplier(0), 1 / 4, 1e-12, name);
    } else {
      assertEquals(schedule.multiplier(0), 0, name);
      assertAlmostEquals(schedule.multiplier(2), 0.5, 1e-12, name);
      assertAlmostEquals(schedule.multiplier(4), 1, 1e-12, name);
    }
  }
});

Deno.test("warmupStepCount() takes steps before ratio and rounds a share up", () => {
  assertEquals(warmupStepCount(101, { warmupRatio: 0.1 }), 11);
  assertEquals(warmupStepCount(101, { warmupRatio: 0.1, warmupSteps: 3 }), 3);
  assertEquals(warmupStepCount(101, { warmupSteps: 0.25 }), 26);
  assertEquals(warmupStepCount(101, {}), 0);
});

Deno.test("reduce_lr_on_plateau lowers each group once the metric has not improved for longer than patience", () => {
  const schedule = make("reduce_lr_on_plateau", { patience: 1, factor: 0.5, min_lr: 3e-4 }, [
    1e-3,
    4e-4,
    0,
  ]);
  const rates = () => [0, 1, 2].map((group) => schedule.multiplier(0, group));
  schedule.observe(1);
  schedule.observe(1);
  assertEquals(rates(), [1, 1, 1]);
  schedule.observe(1);
  // 4e-4 is stopped by min_lr, and a frozen group keeps its multiplier.
  assertAlmostEquals(rates()[0], 0.5, 1e-12);
  assertAlmostEquals(rates()[1], 0.75, 1e-12);
  assertEquals(rates()[2], 1);
  schedule.observe(0.5);
  schedule.observe(0.5);
  assertAlmostEquals(rates()[0], 0.5, 1e-12);
});

Deno.test("reduce_lr_on_plateau waits out its cooldown", () => {
  const schedule = make("reduce_lr_on_plateau", { patience: 0, factor: 0.5, cooldown: 2 });
  const seen = [1, 1, 1, 1, 1, 1].map((metric) => {
    schedule.observe(metric);
    return schedule.multiplier(0);
  });
  // By torch's ReduceLROnPlateau: reduced at the second, fifth (two in between are cooldown) …
  assertEquals(seen, [1, 0.5, 0.5, 0.5, 0.25, 0.25]);
});

Deno.test("greedy raises the rate while the metric improves, lowers it after, and resets at the bottom", () => {
  const schedule = make("greedy", {
    patience: 0,
    factor: 0.5,
    min_lr: 5e-4,
    max_lr: 2e-3,
    reset_start: 2,
  });
  const seen = [3, 2, 2, 2, 2, 2].map((metric) => {
    schedule.observe(metric);
    return schedule.multiplier(0);
  });
  // doubled, at max_lr, halved, at min_lr (1 of 2 to the reset), reset to the start, better than ∞
  assertEquals(seen, [2, 2, 1, 0.5, 1, 2]);
});

Deno.test("a schedule that follows a metric goes on from its state, through JSON, as if it had never stopped", () => {
  const metrics = [3, 2.5, 2.6, 2.7, 2.4, 2.4, 2.5, 2.5, 2.5, 2.1, 2.2, 2.3];
  for (const name of ["reduce_lr_on_plateau", "greedy"] as const) {
    for (let stop = 0; stop < metrics.length; stop++) {
      const args = name === "greedy"
        ? { patience: 1, min_lr: 1e-5, smooth: true, window_size: 3, warmup: 1 }
        : { patience: 1, factor: 0.5, cooldown: 1 };
      const whole = make(name, args), first = make(name, args), second = make(name, args);
      metrics.slice(0, stop).forEach((metric) => first.observe(metric));
      second.restore(JSON.parse(JSON.stringify(first.state())));
      metrics.forEach((metric) => whole.observe(metric));
      metrics.slice(stop).forEach((metric) => second.observe(metric));
      assertEquals(second.state(), whole.state());
      assert(whole.multiplier(0) !== 1);
    }
  }
});

Deno.test("createSchedule() names what it cannot use and what it wants", () => {
  assertThrows(() => make("cosine", { num_cycle: 1 }), RangeError, 'no argument "num_cycle"');
  assertThrows(() => make("polynomial", { lr_end: 1 }), RangeError, "not below");
  assertThrows(() => make("cosine_with_min_lr"), RangeError, "neither");
  assertThrows(() => make("warmup_stable_decay"), RangeError, "num_decay_steps");
  assertThrows(() => make("cosine", { num_cycles: "1" }), RangeError, "want a number");
  assertThrows(() => make("greedy", { factor: 2 }), RangeError, "below 1");
  assertThrows(() => make("reduce_lr_on_plateau").restore({}), RangeError, "Cannot restore");
});

Deno.test("inverse_sqrt refuses a timescale that is not above 0, which would give NaN", () => {
  for (const timescale of [0, -1]) {
    assertThrows(
      () => make("inverse_sqrt", { timescale }),
      RangeError,
      `timescale is ${timescale}`,
    );
  }
});
