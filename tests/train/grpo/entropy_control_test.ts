import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { grpoLoss } from "../../../src/losses/grpo.ts";
import type { GRPOLossType } from "../../../src/losses/grpo_losses.ts";
import { highEntropyThreshold } from "../../../src/losses/token_selection.ts";
import { EntropyControl } from "../../../src/train/grpo/entropy_control.ts";
import { assertLogitGradient, cases, policy, tokenLogProbs } from "../../losses/trl/recorded.ts";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_grpo.ts";

const N = cases.lengths.length, T = Math.max(...cases.lengths);
const grid = (of: (n: number) => readonly number[]) =>
  Array.from({ length: N }, (_, n) => [...of(n), ...new Array<number>(T - of(n).length).fill(0)])
    .flat();

cases.grpo_entropy.forEach(({ settings, advantages, old_log_probs, steps }) => {
  const { loss_type, entropy_coef, use_adaptive_entropy, top_entropy_quantile } = settings;
  const name = `${loss_type}, coefficient ${entropy_coef}, adaptive ${use_adaptive_entropy}`;
  Deno.test(`the entropy bonus is TRL's: ${name}`, () => {
    const control = new EntropyControl({
      coefficient: entropy_coef,
      adaptive: use_adaptive_entropy,
      lowest: settings.entropy_coef_min,
      highest: settings.entropy_coef_max,
      delta: settings.entropy_coef_delta,
      target: settings.entropy_target,
    });
    assert(control.enabled);
    const mask = grid((n) => policy[n].map(() => 1));
    const entropies = grid((n) => policy[n].map(({ entropy }) => entropy));
    const threshold = top_entropy_quantile < 1
      ? highEntropyThreshold(entropies, mask, top_entropy_quantile)
      : -Infinity;
    const acts = mask.map((one, i) => one === 1 && entropies[i] >= threshold ? 1 : 0);
    const count = acts.reduce<number>((sum, one) => sum + one, 0);
    const result = grpoLoss({
      logProbs: grid((n) => tokenLogProbs(policy, n)),
      oldLogProbs: old_log_probs,
      completionMask: mask,
      advantages,
      entropies,
    }, { lossType: loss_type as GRPOLossType, topEntropyQuantile: top_entropy_quantile });
    const mean = entropies.reduce((sum, value, i) => sum + acts[i] * value, 0) / count;
    for (const recorded of steps) {
      const slope = -control.applied / count;
      assertAlmostEquals(result.loss + slope * count * mean, recorded.loss, 1e-9);
      const row = (values: ArrayLike<number>, n: number) =>
        Array.from(values).slice(n * T, n * T + cases.lengths[n]);
      assertLogitGradient(
        cases.lengths.map((_, n) => row(result.gradLogProbs, n)),
        recorded.gradient,
        cases.lengths.map((_, n) => row(acts.map((one) => one * slope), n)),
      );
      control.observe(mean);
      assertAlmostEquals(control.coefficient, recorded.entropy_coef, 1e-12);
    }
  });
});

for (
  const settings of [
    ["grpo.entropy_coef=0.5"],
    ["grpo.entropy_coef=0.5", "grpo.top_entropy_quantile=0.4"],
  ]
) {
  Deno.test(`an entropy bonus: four micro-batches have the gradient of one batch, ${settings}`, async () => {
    using whole = await tinyRun(tinyConfig(settings));
    using parts = await tinyRun(tinyConfig([
      ...settings,
      "training.per_device_train_batch_size=1",
      "training.gradient_accumulation_steps=4",
    ]));
    using none = await tinyRun(tinyConfig());
    const one = await whole.gradients(0), four = await parts.gradients(0);
    assert(largestDifference(one.gradients, four.gradients) < 1e-4);
    assert(largestDifference(one.gradients, (await none.gradients(0)).gradients) > 1e-3);
    const losses = await Promise.all(
      [one, four].map(async ({ outcome }) => {
        const values = await Promise.all(outcome.losses.map((loss) => loss.data()));
        return values.reduce((sum, [value]) => sum + value, 0);
      }),
    );
    assertAlmostEquals(losses[0], losses[1], 1e-4);
    assertEquals(one.outcome.metrics!.entropy_coef, 0.5);
  });
}

Deno.test("a large entropy bonus makes the policy less certain", async () => {
  using run = await tinyRun(tinyConfig(["grpo.entropy_coef=5"]));
  using plain = await tinyRun(tinyConfig());
  let last = 0, without = 0;
  for (let step = 0; step < 6; step++) {
    last = (await run.update(step)).metrics!.entropy;
    without = (await plain.update(step)).metrics!.entropy;
  }
  assert(last > without, `${last} with it, ${without} without`);
});

Deno.test("the adaptive coefficient is part of a checkpoint", async () => {
  const config = tinyConfig(["grpo.use_adaptive_entropy=true", "grpo.entropy_target=100"]);
  using run = await tinyRun(config);
  for (let step = 0; step < 2; step++) await run.update(step);
  const state = JSON.parse(JSON.stringify(run.method.state()));
  assertAlmostEquals(state.entropy.coefficient, 0.01, 1e-12);
  using resumed = await tinyRun(config);
  resumed.method.restore(state);
  const { metrics } = await resumed.update(2);
  assertAlmostEquals(metrics!.entropy_coef, 0.015, 1e-12);
});
