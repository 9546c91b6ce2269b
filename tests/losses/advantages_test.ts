import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { computeAdvantages } from "../../src/losses/advantages.ts";

Deno.test("a group of equal rewards has advantages of exactly 0, whatever the reward and the scale", () => {
  for (const reward of [0.1, 1 / 3, 0.7, 1e-9, 123.456]) {
    for (const scaleRewards of ["group", "batch", "none"] as const) {
      const { advantages, metrics } = computeAdvantages({
        rewards: [[reward, 0.1], [reward, 0.1], [reward, 0.1], [0, 1], [1, 0], [0, 0]],
        numGenerations: 3,
        rewardWeights: [0.3, 0.7],
        scaleRewards,
      });
      assertEquals([...advantages.slice(0, 3)], [0, 0, 0]);
      assert(advantages[3] !== 0);
      assertEquals(metrics.frac_reward_zero_std, scaleRewards === "batch" ? 0 : 0.5);
    }
  }
});

Deno.test("null and NaN mean not applicable, and a completion that nothing scored gets 0", () => {
  const { advantages, rewards, metrics } = computeAdvantages({
    rewards: [[1, null], [NaN, 3], [null, NaN], [2, 2]],
    numGenerations: 4,
    rewardNames: ["format", "accuracy"],
    scaleRewards: "none",
  });
  assertEquals([...rewards], [1, 3, NaN, 4]);
  const mean = 8 / 3;
  [1 - mean, 3 - mean, 0, 4 - mean].forEach((a, i) => assertAlmostEquals(advantages[i], a, 1e-12));
  assertAlmostEquals(metrics.reward, mean, 1e-12);
  assertAlmostEquals(metrics["rewards/format/mean"], 1.5, 1e-12);
  assertAlmostEquals(metrics["rewards/accuracy/mean"], 2.5, 1e-12);
});

Deno.test("groups are normalised apart, the batch scale is shared", () => {
  const rewards = [[0], [1], [10], [30]];
  const group = computeAdvantages({ rewards, numGenerations: 2 }).advantages;
  assertAlmostEquals(group[1], 0.5 / (Math.SQRT1_2 + 1e-4), 1e-12);
  assertAlmostEquals(group[3], 10 / (10 * Math.SQRT2 + 1e-4), 1e-12);
  const batch = computeAdvantages({ rewards, numGenerations: 2, scaleRewards: "batch" });
  assertAlmostEquals(batch.advantages[3] / batch.advantages[1], 20, 1e-9);
});

Deno.test("a completion's advantage does not depend on other groups under group and none", () => {
  const own = [[1], [0], [0.5]];
  for (const scaleRewards of ["group", "none"] as const) {
    const alone = computeAdvantages({ rewards: own, numGenerations: 3, scaleRewards });
    const beside = computeAdvantages({
      rewards: [...own, [9], [-9], [3]],
      numGenerations: 3,
      scaleRewards,
    });
    assertEquals([...beside.advantages.slice(0, 3)], [...alone.advantages]);
  }
});

Deno.test("computeAdvantages() refuses what are no groups", () => {
  const fails = (inputs: Parameters<typeof computeAdvantages>[0], message: string) =>
    assertThrows(() => computeAdvantages(inputs), RangeError, message);
  fails({ rewards: [[1], [2], [3]], numGenerations: 2 }, "not whole groups of 2");
  fails({ rewards: [[1]], numGenerations: 1, scaleRewards: "group" }, "num_generations 1");
  fails({ rewards: [[1], [1, 2]], numGenerations: 2 }, "completion 1 has 2 rewards");
  fails({ rewards: [[1], [2]], numGenerations: 2, rewardWeights: [1, 2] }, "2 reward weights");
});

Deno.test("computeAdvantages() of no completions is empty", () => {
  assertEquals(computeAdvantages({ rewards: [], numGenerations: 4 }).advantages.length, 0);
});
