import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { computeAdvantages } from "../../src/losses/advantages.ts";
import { grpoLoss } from "../../src/losses/grpo.ts";
import {
  leaveOneOutAdvantages,
  reinforcePlusPlusAdvantages,
} from "../../src/losses/reinforce_advantages.ts";
import {
  assertLogitGradient,
  assertMetrics,
  cases,
  policy,
  reference,
  tokenLogProbs,
} from "./trl/recorded.ts";

const N = cases.lengths.length, T = Math.max(...cases.lengths);

/** Values of tokens as [N, T], 0 beyond each completion's end. */
const grid = (of: (n: number) => readonly number[]) =>
  Array.from({ length: N }, (_, n) => [...of(n), ...new Array<number>(T - of(n).length).fill(0)])
    .flat();

cases.rloo_advantages.forEach(({ settings, advantages }) => {
  Deno.test(`RLOO's advantages are TRL's: ${JSON.stringify(settings)}`, () => {
    const { rewards } = computeAdvantages({
      rewards: cases.rewards,
      numGenerations: 3,
      rewardWeights: cases.reward_weights,
    });
    const divergences = cases.lengths.map((_, n) => {
      const ours = tokenLogProbs(policy, n), theirs = tokenLogProbs(reference, n);
      return ours.reduce((sum, value, t) => sum + value - theirs[t], 0);
    });
    const got = leaveOneOutAdvantages({
      rewards,
      numGenerations: 3,
      divergences,
      beta: settings.beta,
      clipRange: settings.reward_clip_range as [number, number] | null,
      normalize: settings.normalize_advantages,
    });
    got.forEach((value, i) => assertAlmostEquals(value, advantages[i], 1e-9));
  });
});

cases.rloo.forEach(({ settings, advantages, old_logps, ...recorded }) => {
  Deno.test(`rloo, epsilon ${settings.epsilon}: loss, gradient and clipping are TRL's`, () => {
    // Only the sum of the old log-probabilities matters: put all of it on the first token.
    const result = grpoLoss({
      logProbs: grid((n) => tokenLogProbs(policy, n)),
      oldLogProbs: grid((n) => [old_logps[n], ...new Array(cases.lengths[n] - 1).fill(0)]),
      completionMask: grid((n) => tokenLogProbs(policy, n).map(() => 1)),
      advantages,
    }, {
      lossType: "rloo",
      epsilon: settings.epsilon,
      epsilonHigh: settings.epsilon_high,
    });
    assertAlmostEquals(result.loss, recorded.loss, 1e-9);
    const slopes = cases.lengths.map((length, n) =>
      result.gradLogProbs.slice(n * T, n * T + length)
    );
    assertLogitGradient(slopes, recorded.gradient);
    const { entropy: _, ...metrics } = result.metrics;
    assertEquals(assertMetrics(metrics, recorded.metrics).length, 5);
  });
});

Deno.test("leaveOneOutAdvantages() needs two completions of each prompt", () => {
  assertThrows(
    () => leaveOneOutAdvantages({ rewards: [1, 2], numGenerations: 1 }),
    RangeError,
    "grpo.num_generations",
  );
});

Deno.test("reinforcePlusPlusAdvantages() have mean 0 and spread 1 over tokens", () => {
  for (const baseline of [false, true]) {
    const rewards = [1, 0, 3, NaN, 2, 0.5], lengths = [2, 5, 1, 3, 4, 2];
    const divergences = lengths.map((length, i) => Array.from({ length }, (_, t) => 0.1 * i - t));
    const byToken = reinforcePlusPlusAdvantages({
      rewards,
      numGenerations: 3,
      lengths,
      divergences,
      beta: 0.05,
      baseline,
    });
    assertEquals(byToken.map(({ length }) => length), lengths);
    assertEquals(byToken[3], [0, 0, 0]);
    const all = byToken.flatMap((own, i) => i === 3 ? [] : own);
    const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
    const variance = all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length;
    assertAlmostEquals(mean, 0, 1e-12);
    assertAlmostEquals(variance, 1, 1e-12);
  }
});

Deno.test("reinforcePlusPlusAdvantages(): a token pays for the divergence from itself on", () => {
  // Two completions of two tokens; the normalisation keeps differences in proportion.
  const [first, second] = reinforcePlusPlusAdvantages({
    rewards: [1, 0],
    numGenerations: 2,
    lengths: [2, 2],
    divergences: [[0.5, 1], [0, 0]],
    beta: 0.1,
  });
  const unit = (second[0] - first[0]) / (0 - (1 - 0.1 * 1.5));
  assert(unit > 0);
  assertAlmostEquals(first[1] - first[0], unit * 0.1 * 0.5, 1e-12);
  assertAlmostEquals(second[0], second[1], 1e-12);
});

Deno.test("grpoLoss() with an advantage a token: the gradient follows each token's own", () => {
  const { gradLogProbs } = grpoLoss({
    logProbs: [-1, -2, -3, -4],
    completionMask: [1, 1, 1, 1],
    advantages: [0, 0],
    tokenAdvantages: [1, -1, 2, 0],
  }, { lossType: "reinforce_plus_plus" });
  assertEquals([...gradLogProbs].map((value) => value + 0), [-0.25, 0.25, -0.5, 0]);
});
