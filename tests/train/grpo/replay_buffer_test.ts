import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { ReplayBuffer, replayScore } from "../../../src/train/grpo/replay_buffer.ts";
import type { Rollout, RolloutGroup } from "../../../src/train/grpo/rollout.ts";
import type { Scorer } from "../../../src/train/grpo/scoring.ts";
import { cases } from "../../losses/trl/recorded.ts";
import { onLocalRanks, sumGradients } from "../../distributed/local_ranks.ts";
import { largestDifference, tinyConfig, tinyRun } from "./tiny_grpo.ts";

/** A group that is told from others by its index in the data. */
function groupOf(index: number, advantages: readonly number[] = [1, -1]): RolloutGroup {
  return {
    prompt: {
      ids: [1],
      images: [],
      example: { prompt: [], images: [], columns: {}, conversational: false },
      cursor: { epoch: 0, index },
    },
    sequences: advantages.map((advantage) => ({
      tokens: [2, 3],
      truncated: false,
      advantage,
      logProbs: [-1, -2],
      refLogProbs: null,
    })),
  };
}

const indexOf = ({ prompt }: RolloutGroup) => prompt.cursor!.index;

for (const { size, rounds } of cases.replay_buffer) {
  Deno.test(`ReplayBuffer of ${size} keeps the groups that TRL's keeps`, () => {
    const buffer = new ReplayBuffer(size, 0);
    rounds.forEach(({ advantages, deviations, kept }, number) => {
      const groups = deviations.map((_, p) => groupOf(p, advantages.slice(3 * p, 3 * p + 3)));
      buffer.replay({ groups, sampledAtStep: number }, deviations, number);
      assertEquals(buffer.scores.length, kept.length);
      buffer.scores.forEach((score, i) => assertAlmostEquals(score, kept[i], 1e-9));
    });
  });
}

Deno.test("replayScore() is the sum of absolute advantages times the standard deviation", () => {
  assertEquals(replayScore([1, -2, 0.5], 0.5), 1.75);
});

Deno.test("ReplayBuffer puts kept groups in place of those without spread, and keeps their step", () => {
  const buffer = new ReplayBuffer(2, 7);
  const round = (sampledAtStep: number, first: number): Rollout => ({
    sampledAtStep,
    groups: [0, 1, 2].map((g) => groupOf(first + g)),
  });
  const none = buffer.replay(round(0, 0), [0, NaN, 0], 0);
  assertEquals([none.replaced, none.rollout.groups.map(indexOf)], [0, [0, 1, 2]]);
  const first = buffer.replay(round(1, 10), [0.5, 0, 2], 1);
  assertEquals(first.replaced, 1);
  assertEquals(first.rollout.groups.map(indexOf).filter((_, i) => i !== 1), [10, 12]);
  assert([10, 12].includes(indexOf(first.rollout.groups[1])));
  const second = buffer.replay(round(2, 20), [0, 1, 0], 2);
  // 21 has a higher score than 10, which goes.
  assertEquals(buffer.scores, [2, 4]);
  const [one, own, other] = second.rollout.groups;
  assertEquals([indexOf(own), own.sampledAtStep], [21, undefined]);
  assertEquals([indexOf(one), indexOf(other)].sort(), [12, 21], "without repetition");
  assertEquals([one, other].find((group) => indexOf(group) === 12)!.sampledAtStep, 1);
  assertEquals(buffer.draw(5, 3).length, 5, "with repetition if there are too few");
});

Deno.test("ReplayBuffer draws groups in proportion to their scores, and the same for a seed", () => {
  const buffer = new ReplayBuffer(3, 1);
  [1, 3, 6].forEach((score) => buffer.add(score, groupOf(score)));
  const counts = new Map<number, number>();
  const draws = 4000;
  for (let round = 0; round < draws; round++) {
    const [group] = buffer.draw(1, round);
    counts.set(indexOf(group), (counts.get(indexOf(group)) ?? 0) + 1);
  }
  for (const score of [1, 3, 6]) {
    const share = score / 10, error = Math.sqrt(share * (1 - share) / draws);
    assert(Math.abs(counts.get(score)! / draws - share) < 4 * error, `${score}`);
  }
  assertEquals(buffer.draw(2, 9).map(indexOf), buffer.draw(2, 9).map(indexOf));
});

/** Gives all completions to every other prompt the same score. */
const oftenEqual: Scorer = {
  names: ["parity"],
  weights: [1],
  score: (prompts, completions) =>
    Promise.resolve({
      rewards: completions.map(({ tokens }, i) => [
        prompts[i].cursor!.index % 2 === 0 || i % 3 === 0 ? 0 : tokens[0] % 7,
      ]),
      functions: [],
      seconds: 0,
    }),
};

const REPLAY = [
  "grpo.replay_buffer_size=3",
  "grpo.num_iterations=2",
  "grpo.beta=0.1",
  "training.per_device_train_batch_size=6",
];

Deno.test("a GRPO run with a replay buffer goes on to the bit", async () => {
  const config = tinyConfig(REPLAY);
  using straight = await tinyRun(config, { scorer: oftenEqual });
  for (let step = 0; step < 3; step++) await straight.update(step);
  const state = JSON.parse(JSON.stringify(straight.method.state()));
  assert(state.replay.length > 0 && state.buffer !== null);
  const weights = await straight.weights();
  const moments = await straight.optimizer.state();
  using resumed = await tinyRun(config, { scorer: oftenEqual });
  for (const [name, parameter] of resumed.optimizer.parameters) {
    tf.tidy(() => parameter.assign(tf.tensor(weights.get(name)!, parameter.shape)));
  }
  resumed.optimizer.restore(moments);
  resumed.method.restore(state);
  let replaced = 0;
  for (let step = 3; step < 7; step++) {
    const lasting = ({ metrics = {} }: { readonly metrics?: Readonly<Record<string, number>> }) =>
      Object.fromEntries(Object.entries(metrics).filter(([name]) => !name.startsWith("time/")));
    const expected = lasting(await straight.update(step));
    assertEquals(lasting(await resumed.update(step)), expected, `step ${step}`);
    replaced += expected["replay_buffer/replaced_groups"] ?? 0;
    const size = expected["replay_buffer/size"] ?? 1;
    assert(size >= 1 && size <= 3);
  }
  assert(replaced > 0, "some groups were replaced");
  assertEquals(await resumed.weights(), await straight.weights());
});

Deno.test("a replayed group is compared with the policy that sampled it", async () => {
  const settings = ["grpo.replay_buffer_size=3", "training.per_device_train_batch_size=6"];
  using run = await tinyRun(tinyConfig(settings), { scorer: oftenEqual });
  let ratios = 0;
  for (let step = 0; step < 5; step++) {
    const { metrics = {} } = await run.update(step);
    const groups = (run.method.describeLastBatch() as { groups: { sampledAtStep?: number }[] }[])
      .flatMap(({ groups }) => groups);
    if (groups.some(({ sampledAtStep = step }) => sampledAtStep < step)) {
      ratios = Math.max(ratios, metrics["clip_ratio/region_mean"]);
    }
  }
  assert(ratios > 0, "the ratio of a replayed group leaves the clip range");
});

Deno.test("two ranks replay the groups that one process replays", async () => {
  const config = tinyConfig([
    "grpo.replay_buffer_size=3",
    "grpo.beta=0.05",
    "training.per_device_train_batch_size=1",
    "training.gradient_accumulation_steps=4",
  ]);
  const make = () => tinyRun(config, { scorer: oftenEqual });
  const steps = async (run: Awaited<ReturnType<typeof make>>) => {
    await run.gradients(0);
    const done = await run.gradients(1);
    return { ...done, replay: run.method.state().replay };
  };
  using alone = await make();
  const one = await steps(alone);
  const two = await onLocalRanks(2, make, steps);
  const sum = sumGradients(two.map(({ gradients }) => gradients));
  const difference = largestDifference(sum, one.gradients);
  assert(difference < 1e-5, `${difference}`);
  assert(one.outcome.metrics!["replay_buffer/replaced_groups"] > 0);
  assertEquals(JSON.stringify(two[0].replay), JSON.stringify(two[1].replay));
});
