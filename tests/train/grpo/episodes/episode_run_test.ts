/** Steps of GRPO on episodes: sampling, micro-batches, checkpoints, ranks, evaluation. */
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { onLocalRanks, sumGradients } from "../../../distributed/local_ranks.ts";
import { largestDifference } from "../tiny_grpo.ts";
import { episodeRun } from "./ending_model.ts";

const lasting = (metrics: Readonly<Record<string, number>> = {}) =>
  Object.fromEntries(Object.entries(metrics).filter(([name]) => !name.startsWith("time/")));

const FOUR = ["training.per_device_train_batch_size=1", "training.gradient_accumulation_steps=4"];

for (
  const [name, settings] of [
    ["grpo", []],
    ["dapo", ["grpo.loss_type=dapo"]],
    ["GSPO", ["grpo.importance_sampling_level=sequence"]],
    ["rloo", ["grpo.loss_type=rloo"]],
    ["REINFORCE++", ["grpo.loss_type=reinforce_plus_plus"]],
    ["the share of tokens with the highest entropy", ["grpo.top_entropy_quantile=0.5"]],
  ] as const
) {
  Deno.test(`episodes, ${name}: four micro-batches have the gradient of one batch`, async () => {
    const own = ["grpo.beta=0.05", "grpo.num_iterations=2", ...settings];
    const steps = async (overrides: readonly string[]) => {
      using run = await episodeRun(overrides);
      const first = await run.gradients(0), second = await run.gradients(1);
      const { metrics } = first.outcome;
      assertEquals(metrics!["environment/failed_ratio"], 0);
      assert(metrics!["environment/turns"] > 1.5, "there are several turns");
      return [first.gradients, second.gradients];
    };
    const one = await steps(own), four = await steps([...own, ...FOUR]);
    assert([...one[0].values()].some((g) => g.some((value) => Math.abs(value) > 1e-3)));
    assert(largestDifference(one[0], four[0]) < 1e-4, "on the policy");
    assert(largestDifference(one[1], four[1]) < 1e-4, "on the same completions again");
  });
}

Deno.test("log-probabilities of all turns, kept while sampling, are those of a fresh forward", async () => {
  using run = await episodeRun(["grpo.num_iterations=2", "grpo.epsilon=1e-4"]);
  const { outcome: { metrics: first } } = await run.gradients(0);
  const { outcome: { metrics } } = await run.gradients(1);
  assertEquals(metrics!["clip_ratio/region_mean"], 0);
  assert(first!["environment/pictures"] > 0.5, "pictures were shown");
});

Deno.test("lengths count the model's own tokens", async () => {
  using run = await episodeRun();
  const { metrics } = await run.update(0);
  const lengths = run.completions.map(({ length }) => length!);
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  assertAlmostEquals(metrics!["completions/mean_length"], mean, 1e-9);
  // Each reply is a picture, a word and the template around them.
  assertAlmostEquals(
    metrics!["environment/tokens"] / metrics!["environment/pictures"],
    16,
    4,
  );
  const [{ completion, pictures }] = run.completions;
  assert(completion.includes("[user] a0"), completion);
  assert(pictures!.length >= 2, "the reply's picture is shown in the report");
});

Deno.test("a run with episodes goes on from a checkpoint, to the bit", async () => {
  const overrides = ["grpo.steps_per_generation=3", "grpo.num_iterations=2", "grpo.beta=0.1"];
  using straight = await episodeRun(overrides);
  for (let step = 0; step < 2; step++) await straight.update(step);
  const state = JSON.parse(JSON.stringify(straight.method.state()));
  assert(JSON.stringify(state).includes('"pictures"'), "the round has pictures");
  const weights = await straight.weights();
  const moments = await straight.optimizer.state();

  using resumed = await episodeRun(overrides);
  for (const [name, parameter] of resumed.optimizer.parameters) {
    tf.tidy(() => parameter.assign(tf.tensor(weights.get(name)!, parameter.shape)));
  }
  resumed.optimizer.restore(moments);
  resumed.method.restore(state);
  // Up to the next round: the reference of the resumed run is that of its start.
  for (let step = 2; step < 6; step++) {
    const expected = await straight.update(step), got = await resumed.update(step);
    assertEquals(lasting(got.metrics), lasting(expected.metrics), `step ${step}`);
  }
  assertEquals(await resumed.weights(), await straight.weights());
});

Deno.test("a checkpoint with episodes needs the environment to go on", async () => {
  const overrides = ["grpo.steps_per_generation=3"];
  using run = await episodeRun(overrides);
  await run.update(0);
  const state = JSON.parse(JSON.stringify(run.method.state()));
  using other = await episodeRun(overrides, undefined, { environment: null });
  other.method.restore(state);
  await assertRejects(() => other.update(1), Error, "set grpo.environment as it was");
});

Deno.test("two ranks have the gradient of one process on episodes with pictures", async () => {
  const overrides = [...FOUR, "grpo.num_iterations=2", "grpo.beta=0.05"];
  using alone = await episodeRun(overrides);
  const one = [await alone.gradients(0), await alone.gradients(1)];
  const two = await onLocalRanks(
    2,
    () => episodeRun(overrides),
    async (run) => [await run.gradients(0), await run.gradients(1)],
  );
  for (const step of [0, 1]) {
    const sum = sumGradients(two.map((rank) => rank[step].gradients));
    assert(largestDifference(sum, one[step].gradients) < 1e-5);
    for (const rank of two) {
      const got = lasting(rank[step].outcome.metrics);
      for (const [name, value] of Object.entries(lasting(one[step].outcome.metrics))) {
        assertAlmostEquals(got[name], value, 1e-6, name);
      }
    }
  }
});

Deno.test("an evaluation plays episodes, greedily", async () => {
  using run = await episodeRun();
  const { metrics, samples } = (await run.method.evaluate())!;
  assert(metrics["eval_environment/turns"] >= 1);
  assert(samples![0].answer.length > 0);
  const again = (await run.method.evaluate())!;
  assertEquals(again.metrics.eval_reward, metrics.eval_reward);
});
