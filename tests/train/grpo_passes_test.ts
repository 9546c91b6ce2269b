/** Micro-batches of groups in parts of like length. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { GRPO_LOSS_TYPES } from "../../src/losses/policy_surrogate.ts";
import { countBatch, type GrpoOptions } from "../../src/losses/grpo.ts";
import { readBack } from "../../src/device/read_back.ts";
import { RandomStream } from "../../src/random.ts";
import { GradientAccumulator } from "../../src/train/gradients.ts";
import { MeanMetrics } from "../../src/train/grpo_mean_metrics.ts";
import { type CutMicroBatch, GRPOPasses, type MicroBatch } from "../../src/train/grpo_passes.ts";
import { ReferencePolicy } from "../../src/train/grpo_reference.ts";
import type { RolloutGroup } from "../../src/train/grpo_rollout.ts";
import { grpoGroups } from "../../src/train/grpo_setup.ts";
import { largestDifference, tinyConfig, type TinyRun, tinyRun } from "./grpo_tiny.ts";

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
  { prepared: { model, tokenizer } }: TinyRun,
  masksTruncated: boolean,
  sharePrefix = true,
) {
  return new GRPOPasses(model, {
    temperature: 0.9,
    maskTruncatedCompletions: masksTruncated,
    sharePrefix,
    gradientCheckpointing: false,
    padTokenId: tokenizer.padTokenId,
  });
}

const micro: MicroBatch = { groups: unlikeGroups(), sampledAtStep: 0, onPolicy: false };

/** What a micro-batch adds to a step, with the sizes of twice as many groups. */
async function goBack(run: TinyRun, passes: GRPOPasses, cut: CutMicroBatch, options: GrpoOptions) {
  const { parameters } = run.optimizer;
  const accumulator = new GradientAccumulator();
  const metrics = new MeanMetrics();
  const entropies = new Map();
  for (const part of cut.parts) entropies.set(part, await passes.entropies(part, parameters));
  const { sequences, tokens } = countBatch(cut.grid.mask, cut.grid.sequences.length);
  const loss = { ...options, wholeBatch: { sequences: 2 * sequences, tokens: 2 * tokens } };
  const done = await passes.goBack(
    cut,
    { accumulator, parameters, step: 0 },
    loss,
    options.topEntropyQuantile === undefined ? null : entropies,
    metrics,
  );
  const names = [...accumulator.gradients.keys()];
  const values = await readBack([...accumulator.gradients.values()]);
  const losses = await readBack(done.losses);
  accumulator.reset();
  return {
    ...done,
    loss: losses.reduce((sum, [value]) => sum + value, 0),
    gradients: new Map(names.map((name, i) => [name, values[i] as Float32Array])),
    metrics: metrics.means(),
  };
}

const whole = (passes: GRPOPasses) => passes.cut(micro, 1e12, () => undefined);
const inParts = (passes: GRPOPasses) => passes.cut(micro, 0, () => undefined);

for (const lossType of GRPO_LOSS_TYPES) {
  for (const masksTruncated of [false, true]) {
    Deno.test(`${lossType}${masksTruncated ? ", truncated masked" : ""}: parts of like length have loss, gradient and metrics of the micro-batch`, async () => {
      using run = await tinyRun(tinyConfig());
      const passes = passesOf(run, masksTruncated);
      const options: GrpoOptions = {
        lossType,
        beta: 0.1,
        epsilon: 0.05,
        maxCompletionLength: 16,
        sapoTemperaturePos: 1,
        sapoTemperatureNeg: 1.05,
        epsilonHigh: lossType === "cispo" ? 5 : 0.1,
        importanceSamplingLevel: lossType === "luspo" ? "sequence" : "token",
      };
      const one = whole(passes), parts = inParts(passes);
      assertEquals([one.parts.length, parts.parts.length], [1, 2]);
      const a = await goBack(run, passes, one, options);
      const b = await goBack(run, passes, parts, options);
      assertAlmostEquals(a.loss, b.loss, 1e-5 * Math.max(1, Math.abs(a.loss)));
      assert(largestDifference(a.gradients, b.gradients) < 1e-4);
      const timeless = (metrics: Record<string, number>) =>
        Object.entries(metrics).filter(([name]) => !name.startsWith("time/")).sort();
      assertEquals(
        timeless(a.metrics).map(([name]) => name),
        timeless(b.metrics).map(([name]) => name),
      );
      for (const [name, value] of timeless(a.metrics)) {
        assertAlmostEquals(b.metrics[name], value, 1e-5 * Math.max(1, Math.abs(value)), name);
      }
      assertEquals(a.tokens, b.tokens);
      assert(b.padding < a.padding / 4, `${b.padding} of ${a.padding}`);
    });
  }
}

Deno.test("the tokens of high entropy are the same ones in parts, and where prompts are not shared", async () => {
  using run = await tinyRun(tinyConfig());
  const all = await Promise.all(
    whole(passesOf(run, true)).parts.map((part) =>
      passesOf(run, true).entropies(part, run.optimizer.parameters)
    ),
  );
  const counted = all.flatMap((values) => [...values!]).filter((entropy) => entropy > 0)
    .sort((a, b) => a - b);
  const entropyThreshold = counted[Math.floor(0.6 * counted.length)] + 1e-4;
  const options: GrpoOptions = { lossType: "grpo", topEntropyQuantile: 0.4, entropyThreshold };
  const results = [];
  for (const [cut, share] of [[whole, true], [inParts, true], [inParts, false]] as const) {
    const passes = passesOf(run, true, share);
    results.push(await goBack(run, passes, cut(passes), options));
  }
  const [one, ...others] = results;
  const every = await goBack(run, passesOf(run, true), whole(passesOf(run, true)), {
    lossType: "grpo",
  });
  assert(largestDifference(every.gradients, one.gradients) > 1e-2, "some tokens do not count");
  assert(counted.every((entropy) => Math.abs(entropy - entropyThreshold) > 1e-6));
  for (const other of others) {
    assertAlmostEquals(other.loss, one.loss, 1e-5);
    assert(largestDifference(other.gradients, one.gradients) < 1e-4);
    assertAlmostEquals(other.metrics.entropy, one.metrics.entropy, 1e-5);
  }
});

Deno.test("the reference's log-probabilities of groups in parts come back in the groups' order", async () => {
  using run = await tinyRun(tinyConfig());
  const passes = passesOf(run, false);
  const reference = new ReferencePolicy(run.prepared.model, grpoGroups(run.prepared, tinyConfig()));
  const rollout = { groups: micro.groups, sampledAtStep: 0 };
  const together = await passes.withReference(rollout, reference, GROUPS);
  const alone = await passes.withReference(rollout, reference, 1);
  together.groups.forEach(({ prompt, sequences }, g) => {
    assertEquals(prompt, micro.groups[g].prompt);
    sequences.forEach(({ tokens, refLogProbs }, s) => {
      assertEquals(tokens, micro.groups[g].sequences[s].tokens);
      refLogProbs!.forEach((value, t) =>
        assertAlmostEquals(value, alone.groups[g].sequences[s].refLogProbs![t], 1e-4)
      );
    });
  });
  reference.dispose();
});

Deno.test("each part drops other values", async () => {
  using run = await tinyRun(tinyConfig());
  let made = 0;
  const { parts } = passesOf(run, false).cut(micro, 0, () => {
    made++;
    return undefined;
  });
  assertEquals(made, parts.length);
});
