/** Micro-batches of groups of unlike lengths, joined without padding. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { GRPO_LOSS_TYPES } from "../../../src/losses/grpo_losses.ts";
import { countBatch, type GRPOLossOptions } from "../../../src/losses/grpo.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { RandomStream } from "../../../src/random.ts";
import { GradientAccumulator } from "../../../src/train/loop/gradients.ts";
import { MeanMetrics } from "../../../src/train/grpo/mean_metrics.ts";
import {
  GRPOPasses,
  type MicroBatch,
  type PreparedMicroBatch,
} from "../../../src/train/grpo/passes.ts";
import { ReferencePolicy } from "../../../src/train/loop/reference_policy.ts";
import type { RolloutGroup } from "../../../src/train/grpo/rollout.ts";
import { grpoGroups } from "../../../src/train/grpo/setup.ts";
import { largestDifference, tinyConfig, type TinyRun, tinyRun } from "./tiny_grpo.ts";

const GROUPS = 6;

/** Made-up completions of made-up prompts: every second group is four times as long. */
function unlikeGroups(): RolloutGroup[] {
  const random = new RandomStream(3, "groups");
  const ids = (count: number) => Array.from({ length: count }, () => 70 + random.nextInt(400));
  return Array.from({ length: GROUPS }, (_, g): RolloutGroup => {
    const long = g % 2 === 1;
    return {
      prompt: {
        ids: ids(long ? 80 : 9),
        images: [],
        example: { prompt: [], images: [], columns: {}, conversational: false },
        cursor: null,
      },
      sequences: Array.from({ length: 3 }, (_, s) => {
        const tokens = ids((long ? 12 : 2) + s);
        return {
          tokens,
          truncated: s === 1,
          advantage: s - 1 + g / 10,
          // Off the policy, so that some ratios are clipped.
          logProbs: tokens.map(() => -6 - random.nextFloat()),
          refLogProbs: tokens.map(() => -6 - random.nextFloat()),
        };
      }),
    };
  });
}

function passesOf(
  { prepared: { model } }: TinyRun,
  masksTruncated: boolean,
  sharePrefix = true,
) {
  return new GRPOPasses(model, {
    temperature: 0.9,
    maskTruncatedCompletions: masksTruncated,
    sharePrefix,
    gradientCheckpointing: false,
  });
}

const micro: MicroBatch = { groups: unlikeGroups(), sampledAtStep: 0, onPolicy: false };

/**
 * What micro-batches add to a step, with the sizes of twice as many groups as there are.
 */
async function addGradients(
  run: TinyRun,
  passes: GRPOPasses,
  micros: readonly PreparedMicroBatch[],
  options: GRPOLossOptions,
) {
  const { parameters } = run.optimizer;
  const accumulator = new GradientAccumulator();
  const metrics = new MeanMetrics();
  const counts = micros.map(({ grid }) => countBatch(grid.mask, grid.sequences.length));
  const total = (of: "sequences" | "tokens") => 2 * counts.reduce((sum, one) => sum + one[of], 0);
  const wholeBatch = { sequences: total("sequences"), tokens: total("tokens") };
  const losses: number[] = [];
  let tokens = 0, padding = 0;
  for (const micro of micros) {
    const entropies = options.topEntropyQuantile === undefined
      ? null
      : await passes.entropies(micro, parameters);
    const context = { accumulator, parameters, step: 0 };
    const done = await passes.addGradients(
      micro,
      context,
      { ...options, wholeBatch },
      entropies,
      metrics,
    );
    const [[loss]] = await readBack([done.loss!]);
    done.loss!.dispose();
    losses.push(loss);
    tokens += done.tokens;
    padding += done.padding;
  }
  const names = [...accumulator.gradients.keys()];
  const values = await readBack([...accumulator.gradients.values()]);
  accumulator.reset();
  return {
    ...{ tokens, padding },
    loss: losses.reduce((sum, value) => sum + value, 0),
    gradients: new Map(names.map((name, i) => [name, values[i] as Float32Array])),
    metrics: metrics.means(),
  };
}

/** All groups at once. */
const joined = (passes: GRPOPasses) => [passes.prepare(micro, undefined)];
/** Each group by itself. */
const alone = (passes: GRPOPasses) =>
  micro.groups.map((group) => passes.prepare({ ...micro, groups: [group] }, undefined));

for (const lossType of GRPO_LOSS_TYPES) {
  for (const masksTruncated of [false, true]) {
    Deno.test(`${lossType}${masksTruncated ? ", truncated masked" : ""}: joined groups have loss and gradient of groups by themselves`, async () => {
      using run = await tinyRun(tinyConfig());
      const passes = passesOf(run, masksTruncated);
      const options: GRPOLossOptions = {
        lossType,
        beta: 0.1,
        epsilon: 0.05,
        maxCompletionLength: 16,
        sapoTemperaturePos: 1,
        sapoTemperatureNeg: 1.05,
        epsilonHigh: lossType === "cispo" ? 5 : 0.1,
        importanceSamplingLevel: lossType === "luspo" ? "sequence" : "token",
      };
      const a = await addGradients(run, passes, joined(passes), options);
      const b = await addGradients(run, passes, alone(passes), options);
      assertAlmostEquals(a.loss, b.loss, 1e-5 * Math.max(1, Math.abs(a.loss)));
      assert(largestDifference(a.gradients, b.gradients) < 1e-4);
      assertEquals(Object.keys(a.metrics).sort(), Object.keys(b.metrics).sort());
      for (const name of ["kl", "entropy"]) {
        assertAlmostEquals(
          b.metrics[name],
          a.metrics[name],
          1e-5 * Math.abs(a.metrics[name]),
          name,
        );
      }
      assertEquals([a.tokens, a.padding], [b.tokens, 0]);
    });
  }
}

Deno.test("the tokens of high entropy are the same with and without other prompts, shared or not", async () => {
  using run = await tinyRun(tinyConfig());
  const passes = passesOf(run, true);
  const [whole] = joined(passes);
  const values = await passes.entropies(whole, run.optimizer.parameters);
  const counted = [...values!].filter((entropy) => entropy > 0).sort((a, b) => a - b);
  const entropyThreshold = counted[Math.floor(0.6 * counted.length)] + 1e-4;
  const options: GRPOLossOptions = { lossType: "grpo", topEntropyQuantile: 0.4, entropyThreshold };
  const results = [];
  for (const [cut, share] of [[joined, true], [alone, true], [joined, false]] as const) {
    const passes = passesOf(run, true, share);
    results.push(await addGradients(run, passes, cut(passes), options));
  }
  const [one, ...others] = results;
  const every = await addGradients(run, passes, [whole], { lossType: "grpo" });
  assert(largestDifference(every.gradients, one.gradients) > 1e-2, "some tokens do not count");
  assert(counted.every((entropy) => Math.abs(entropy - entropyThreshold) > 1e-6));
  for (const other of others) {
    assertAlmostEquals(other.loss, one.loss, 1e-5);
    assert(largestDifference(other.gradients, one.gradients) < 1e-4);
    assertAlmostEquals(other.metrics.entropy, one.metrics.entropy, 1e-5);
  }
});

Deno.test("the reference's log-probabilities come back in the groups' order, together and alone", async () => {
  using run = await tinyRun(tinyConfig());
  const passes = passesOf(run, false);
  const reference = new ReferencePolicy(run.prepared.model, grpoGroups(run.prepared, tinyConfig()));
  const rollout = { groups: micro.groups, sampledAtStep: 0 };
  const together = await passes.withReference(rollout, reference, GROUPS);
  const apart = await passes.withReference(rollout, reference, 1);
  together.groups.forEach(({ prompt, sequences }, g) => {
    assertEquals(prompt, micro.groups[g].prompt);
    sequences.forEach(({ tokens, refLogProbs }, s) => {
      assertEquals(tokens, micro.groups[g].sequences[s].tokens);
      refLogProbs!.forEach((value, t) =>
        assertAlmostEquals(value, apart.groups[g].sequences[s].refLogProbs![t], 1e-4)
      );
    });
  });
  reference.dispose();
});
