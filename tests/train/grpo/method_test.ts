import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { GRPO_LOSS_TYPES } from "../../../src/losses/grpo_losses.ts";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_grpo.ts";

const total = async (losses: readonly { data(): Promise<ArrayLike<number>> }[]) => {
  let sum = 0;
  for (const loss of losses) sum += (await loss.data())[0];
  return sum;
};

/** Settings that a loss type needs beside its name. */
function settings(lossType: string): string[] {
  return [
    `grpo.loss_type=${lossType}`,
    ...(lossType === "sapo"
      ? ["grpo.sapo_temperature_pos=1", "grpo.sapo_temperature_neg=1.05"]
      : []),
    ...(lossType === "luspo" ? ["grpo.importance_sampling_level=sequence"] : []),
    ...(lossType === "cispo" ? ["grpo.epsilon_high=5"] : []),
  ];
}

/** Gradients of the first step, and of the second on the same completions. */
async function twoSteps(overrides: readonly string[]) {
  using run = await tinyRun(tinyConfig(["grpo.num_iterations=2", ...overrides]));
  const first = await run.gradients(0);
  const firstLoss = await total(first.outcome.losses);
  // The same step again, with an update this time.
  run.method.restore(startState(run.method.state()));
  await run.update(0);
  const second = await run.gradients(1);
  return {
    first: first.gradients,
    second: second.gradients,
    losses: [firstLoss, await total(second.outcome.losses)],
    metrics: second.outcome.metrics ?? {},
  };
}

/** A state before the first step. */
const startState = (state: Record<string, unknown>) => ({
  ...state,
  cursor: { epoch: 0, index: 0 },
  microSteps: 0,
  sampled: 0,
  buffer: null,
});

for (const lossType of GRPO_LOSS_TYPES) {
  const levels = lossType === "luspo"
    ? ["sequence"]
    : lossType === "rloo"
    ? ["token"]
    : ["token", "sequence"];
  for (const level of levels) {
    Deno.test(`${lossType} by ${level}: four micro-batches have the gradient of one batch`, async () => {
      const own = [
        ...settings(lossType),
        `grpo.importance_sampling_level=${level}`,
        "grpo.beta=0.05",
        "grpo.scale_rewards=batch",
      ];
      const one = await twoSteps(own);
      const four = await twoSteps([
        ...own,
        "training.per_device_train_batch_size=1",
        "training.gradient_accumulation_steps=4",
      ]);
      assert(largestDifference(one.first, four.first) < 1e-4, "the first step");
      assert(largestDifference(one.second, four.second) < 1e-3, "the second step, off policy");
      assert(largestDifference(one.first, one.second) > 1e-2, "the policy has moved");
      assertAlmostEquals(one.losses[0], four.losses[0], 1e-5);
      assertAlmostEquals(one.losses[1], four.losses[1], 1e-4);
    });
  }
}

Deno.test("a shared prompt gives the gradient of separate rows", async () => {
  const shared = await twoSteps(["training.share_prefix=true", "grpo.beta=0.1"]);
  const apart = await twoSteps(["training.share_prefix=false", "grpo.beta=0.1"]);
  assert(largestDifference(shared.first, apart.first) < 1e-4);
  assert(largestDifference(shared.second, apart.second) < 1e-3);
});

Deno.test("micro_batch averages micro-batches, token the whole step", async () => {
  const split = [
    "grpo.loss_type=bnpo",
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=4",
    "grpo.max_completion_length=60",
  ];
  const token = await twoSteps(split);
  const micro = await twoSteps([...split, "training.loss_reduction=micro_batch"]);
  assert(largestDifference(token.first, micro.first) > 1e-3);
});

Deno.test("the first step on fresh completions has ratios of exactly 1; clipping comes later", async () => {
  using run = await tinyRun(tinyConfig(["grpo.num_iterations=2", "grpo.epsilon=1e-4"]));
  const { metrics: first } = await run.update(0);
  assertEquals(first?.["clip_ratio/region_mean"], 0);
  const { metrics: second } = await run.update(1);
  assert(second!["clip_ratio/region_mean"] > 0);
  assert(!("reward" in second!), "nothing was sampled in the second step");
  assert("reward" in (await run.update(2)).metrics!, "the third samples again");
});

Deno.test("kl is 0 at the start and grows as the policy moves", async () => {
  using run = await tinyRun(tinyConfig(["grpo.beta=0.1"]));
  const { metrics: first } = await run.update(0);
  assertAlmostEquals(first!.kl, 0, 1e-9);
  const { metrics: second } = await run.update(1);
  assert(second!.kl > 1e-5);
});

Deno.test("log-probabilities kept while sampling are those of a fresh forward", async () => {
  using run = await tinyRun(tinyConfig(["grpo.temperature=0.7", "grpo.num_iterations=3"]));
  // A step of size 0 leaves the policy where it was, and its ratios, from stored values, at 1.
  await run.gradients(0);
  const { outcome: { metrics } } = await run.gradients(1);
  assertEquals(metrics?.["clip_ratio/region_mean"], 0);
  using tight = await tinyRun(
    tinyConfig(["grpo.temperature=0.7", "grpo.num_iterations=3", "grpo.epsilon=1e-5"]),
  );
  await tight.gradients(0);
  const again = await tight.gradients(1);
  assertEquals(again.outcome.metrics?.["clip_ratio/region_mean"], 0, "within 1e-5 of 1");
});

Deno.test("truncated completions stay out of the loss if they are masked", async () => {
  using run = await tinyRun(
    tinyConfig(["grpo.mask_truncated_completions=true", "grpo.max_completion_length=1"]),
  );
  const { gradients, outcome } = await run.gradients(0);
  const ended = run.completions.filter(({ finish_reason }) => finish_reason === "eos");
  if (ended.length === 0) assertEquals(gradients.size, 0);
  assertEquals(
    outcome.metrics?.["completions/clipped_ratio"],
    1 - ended.length / run.completions.length,
  );
});

Deno.test("top_entropy_quantile trains on the tokens of the highest entropy of the whole step", async () => {
  const own = ["grpo.top_entropy_quantile=0.3"];
  const one = await twoSteps(own);
  const four = await twoSteps([
    ...own,
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=4",
  ]);
  const all = await twoSteps([]);
  assert(largestDifference(one.first, four.first) < 1e-4);
  assert(largestDifference(one.first, all.first) > 1e-2);
});

Deno.test("metrics have TRL's names", async () => {
  using run = await tinyRun(tinyConfig(["grpo.beta=0.1"]));
  const { metrics } = await run.update(0);
  for (
    const name of [
      "reward",
      "reward_std",
      "frac_reward_zero_std",
      "rewards/ids/mean",
      "rewards/ids/std",
      "kl",
      "entropy",
      "clip_ratio/low_mean",
      "clip_ratio/low_min",
      "clip_ratio/high_mean",
      "clip_ratio/high_max",
      "clip_ratio/region_mean",
      "completions/mean_length",
      "completions/min_length",
      "completions/max_length",
      "completions/clipped_ratio",
      "time/prefill",
      "time/decode",
      "time/rewards",
      "time/log_probs",
      "time/backward",
    ]
  ) assert(name in metrics!, name);
  assert(metrics!.entropy > 5 && metrics!.entropy < Math.log(600), "a fresh model knows nothing");
});
