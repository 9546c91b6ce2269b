import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { VisionLanguageModel } from "../../../src/generate/vision_language_model.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import type { GRPOPrompt } from "../../../src/train/grpo/prompts.ts";
import {
  lengthMetrics,
  RolloutMaker,
  type RolloutOptions,
} from "../../../src/train/grpo/rollout_maker.ts";
import type {
  CompletionSampler,
  SampledCompletions,
  SamplingRequest,
} from "../../../src/train/grpo/sampling.ts";
import type { Scorer } from "../../../src/train/grpo/scoring.ts";

/** Completions whose text is the prompt's and their own number. */
function fakeSampler(length: (id: number) => number = () => 3) {
  const requests: SamplingRequest[] = [];
  const sample = (request: SamplingRequest): Promise<SampledCompletions> => {
    requests.push(request);
    const { prompts, numGenerations: G, firstId } = request;
    const completions = prompts.flatMap(({ ids }, p) =>
      Array.from({ length: G }, (_, g) => {
        const id = firstId + p * G + g;
        const tokens = new Array<number>(length(id)).fill(ids[0]);
        return {
          tokens,
          logProbs: tokens.map(() => -1),
          filteredLogProbs: tokens.map(() => -1),
          finishReason: "eos" as const,
          text: `${ids[0]} ${id}`,
        };
      })
    );
    return Promise.resolve({ completions, prefillSeconds: 1, decodeSeconds: 2 });
  };
  const sampler = { model: {} as VisionLanguageModel, tokenizer: {} as Tokenizer, sample };
  return { sampler: sampler as unknown as CompletionSampler, requests };
}

/** Scores by prompt number and place in the group. */
function scorer(score: (prompt: number, g: number) => number | null): Scorer {
  return {
    names: ["fake"],
    weights: [2],
    score: (prompts, completions) => {
      const seen = new Map<GRPOPrompt, number>();
      return Promise.resolve({
        rewards: completions.map((_, i) => {
          const g = seen.get(prompts[i]) ?? 0;
          seen.set(prompts[i], g + 1);
          return [score(prompts[i].ids[0], g)];
        }),
        functions: [{ name: "fake", error: null, timedOut: false, ms: 5 }],
        seconds: 3,
      });
    },
  };
}

const options: RolloutOptions = {
  numGenerations: 2,
  prompts: 3,
  promptsAtOnce: 3,
  scaleRewards: "none",
  aggregation: "sum_then_normalize",
  reinforce: null,
  dynamicSamplingRounds: null,
  overlongBufferLength: null,
  overlongPenaltyFactor: 1,
  maxCompletionLength: 10,
};

/** Prompts 0, 1, 2, … */
function counter() {
  let next = 0;
  return () => {
    const prompt: GRPOPrompt = {
      ids: [next],
      images: [],
      example: {
        images: [],
        prompt: [{ role: "user", content: `question ${next}` }],
        conversational: false,
        columns: { answer: next },
      },
      cursor: { epoch: 0, index: next++ },
    };
    return Promise.resolve(prompt);
  };
}

const request = () => ({ step: 4, firstId: 100, nextPrompt: counter() });

Deno.test("a round compares completions within their group, with the functions' weights", async () => {
  const { sampler } = fakeSampler();
  const made = await new RolloutMaker({ sampler, scorer: scorer((_, g) => g) }, options).make(
    request(),
  );
  assertEquals(
    made!.rollout.groups.map(({ sequences }) => sequences.map(({ advantage }) => advantage)),
    [[-1, 1], [-1, 1], [-1, 1]],
  );
  assertEquals(made!.metrics.reward, 1);
  assertEquals(made!.metrics["rewards/fake/mean"], 0.5);
  assertEquals(made!.metrics["rewards/fake/ms"], 5);
  assertEquals(made!.metrics["time/decode"], 2);
  assertEquals(made!.sampled, 6);
  const [first] = made!.completions;
  assertEquals([first.step, first.prompt, first.expected, first.completion, first.reward], [
    5,
    "question 0",
    "0",
    "0 100",
    0,
  ]);
});

Deno.test("dynamic sampling replaces groups without spread, and counts on with the ids", async () => {
  const { sampler, requests } = fakeSampler();
  // Prompts 0 and 3 earn the same whatever is answered.
  const maker = new RolloutMaker({ sampler, scorer: scorer((p, g) => p % 3 === 0 ? 1 : g) }, {
    ...options,
    dynamicSamplingRounds: 5,
  });
  const made = await maker.make(request());
  const kept = made!.rollout.groups.map(({ prompt }) => prompt.ids[0]);
  assertEquals(kept, [1, 2, 4]);
  assertEquals(requests.map(({ firstId, prompts }) => [firstId, prompts.length]), [
    [100, 3],
    [106, 1],
    [108, 1],
  ]);
  assertEquals(made!.metrics["dynamic_sampling/replaced_groups"], 2);
  assertEquals(made!.sampled, 10);
  assertEquals(made!.completions.length, 10, "those of replaced groups are reported too");
  assertEquals(made!.completions[0].advantage, null);
  const groups = made!.completions.map(({ group }) => group);
  assertEquals(groups, [50, 50, 51, 51, 52, 52, 53, 53, 54, 54], "one number for each prompt");
});

Deno.test("dynamic sampling is bounded: groups without spread fill what is left", async () => {
  const { sampler, requests } = fakeSampler();
  const maker = new RolloutMaker({ sampler, scorer: scorer(() => 1) }, {
    ...options,
    dynamicSamplingRounds: 2,
  });
  const made = await maker.make(request());
  assertEquals(requests.length, 2);
  assertEquals(made!.rollout.groups.length, 3);
  assertEquals(made!.metrics["dynamic_sampling/groups_without_spread"], 3);
  assert(
    made!.rollout.groups.every(({ sequences }) =>
      sequences.every(({ advantage }) => advantage === 0)
    ),
  );
  assertEquals(made!.metrics.frac_reward_zero_std, 1);
});

Deno.test("the soft overlong punishment is one more reward", async () => {
  const { sampler } = fakeSampler((id) => id === 100 ? 10 : id === 101 ? 8 : 3);
  const maker = new RolloutMaker({ sampler, scorer: scorer(() => 0) }, {
    ...options,
    overlongBufferLength: 4,
    overlongPenaltyFactor: 2,
  });
  const made = await maker.make(request());
  const [long, shorter] = made!.completions;
  assertEquals(long.rewards.soft_overlong_punishment, -2);
  assertEquals(shorter.rewards.soft_overlong_punishment, -1);
  assertEquals(made!.rollout.groups[0].sequences.map(({ advantage }) => advantage), [-0.5, 0.5]);
  assertAlmostEquals(made!.metrics["rewards/soft_overlong_punishment/mean"], -0.5, 1e-12);
});

Deno.test("completions that nothing scored have advantage 0 and reward null", async () => {
  const { sampler } = fakeSampler();
  const made = await new RolloutMaker({ sampler, scorer: scorer(() => null) }, options).make(
    request(),
  );
  assert(made!.completions.every(({ reward, advantage }) => reward === null && advantage === 0));
  assert(!("reward" in made!.metrics), "a mean of nothing is left out");
});

Deno.test("lengthMetrics() tells ended completions from cut ones", () => {
  const of = (length: number, finishReason: "eos" | "length") => ({
    tokens: new Array<number>(length).fill(1),
    finishReason,
  });
  assertEquals(lengthMetrics([of(2, "eos"), of(4, "eos"), of(9, "length")]), {
    "completions/mean_length": 5,
    "completions/min_length": 2,
    "completions/max_length": 9,
    "completions/mean_terminated_length": 3,
    "completions/min_terminated_length": 2,
    "completions/max_terminated_length": 4,
    "completions/clipped_ratio": 1 - 2 / 3,
  });
  assertEquals("completions/mean_terminated_length" in lengthMetrics([of(9, "length")]), false);
});

for (
  const [kind, expected] of [
    // Rewards 0 and 2 (the weight of the function), less β = 0.1 times 1, the second's divergence.
    ["leave_one_out", [-1.9, 1.9]],
    ["reinforce_plus_plus", [-1, 1]],
    ["reinforce_plus_plus_baseline", [-1, 1]],
  ] as const
) {
  Deno.test(`a round with ${kind} takes the divergence from the reference off the reward`, async () => {
    const { sampler } = fakeSampler();
    const maker = new RolloutMaker({ sampler, scorer: scorer((_, g) => g) }, {
      ...options,
      reinforce: { kind, beta: 0.1, clipRange: null, normalize: false },
    });
    let asked = 0;
    const made = await maker.make({
      ...request(),
      withReference: (rollout) => {
        asked++;
        return Promise.resolve({
          ...rollout,
          groups: rollout.groups.map((group) => ({
            ...group,
            sequences: group.sequences.map((sequence, g) => ({
              ...sequence,
              refLogProbs: sequence.logProbs.map((value) => value - g / sequence.logProbs.length),
            })),
          })),
        });
      },
    });
    assertEquals(asked, 1);
    for (const { sequences } of made!.rollout.groups) {
      sequences.forEach(({ advantage, tokenAdvantages, tokens }, g) => {
        assertAlmostEquals(advantage, expected[g], kind === "leave_one_out" ? 1e-12 : 0.2);
        assertEquals(tokenAdvantages?.length, kind === "leave_one_out" ? undefined : tokens.length);
      });
    }
    const reported = made!.completions.map(({ advantage }) => advantage);
    assertEquals(
      reported,
      made!.rollout.groups.flatMap(({ sequences }) => sequences.map(({ advantage }) => advantage)),
    );
    assert(made!.metrics.kl > 0);
  });
}

Deno.test("normalize_then_sum normalises each function before it is weighed", async () => {
  const { sampler } = fakeSampler();
  const maker = new RolloutMaker({ sampler, scorer: scorer((_, g) => 1000 * g) }, {
    ...options,
    aggregation: "normalize_then_sum",
  });
  const made = await maker.make(request());
  for (const { sequences } of made!.rollout.groups) {
    assertAlmostEquals(sequences[1].advantage, -sequences[0].advantage, 1e-9);
    assert(Math.abs(sequences[0].advantage) < 1.1);
  }
});
