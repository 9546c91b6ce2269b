import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  countBatch,
  grpoLoss,
  type GRPOLossInputs,
  type GRPOLossOptions,
} from "../../src/losses/grpo.ts";
import { GRPO_LOSS_TYPES, type GRPOLossType } from "../../src/losses/grpo_losses.ts";
import { highEntropyThreshold } from "../../src/losses/token_selection.ts";
import { RandomStream } from "../../src/random.ts";
import { assertGradient } from "./finite_difference.ts";

const N = 6, T = 5;
const LEVELS = ["token", "sequence"] as const;

interface Case extends GRPOLossInputs {
  logProbs: Float64Array;
  oldLogProbs: Float64Array;
  refLogProbs: Float64Array;
  completionMask: Float64Array;
  advantages: Float64Array;
  entropies: Float64Array;
}

/** Completions of 5, 3, 0 (masked), 1, 4 and 5 tokens; what lies under the mask is NaN. */
function randomCase(seed: number): Case {
  const random = new RandomStream(seed, "grpo test");
  const lengths = [5, 3, 0, 1, 4, 5];
  const completionMask = Float64Array.from(
    { length: N * T },
    (_, i) => i % T < lengths[Math.floor(i / T)] ? 1 : 0,
  );
  const masked = (draw: () => number) =>
    completionMask.map((mask) => {
      const value = draw();
      return mask === 0 ? NaN : value;
    });
  const logProbs = masked(() => -2 + 0.7 * random.nextNormal());
  return {
    logProbs,
    oldLogProbs: logProbs.map((value) => value + 0.3 * random.nextNormal()),
    refLogProbs: logProbs.map((value) => value + 0.3 * random.nextNormal()),
    completionMask,
    advantages: Float64Array.from([1.3, -0.7, 0.4, -1.1, 0, 0.9]),
    entropies: masked(() => 2 * random.nextFloat()),
  };
}

function optionsFor(lossType: GRPOLossType): GRPOLossOptions {
  return {
    lossType,
    epsilon: 0.2,
    epsilonHigh: lossType === "cispo" ? 1.4 : 0.28,
    beta: 0.05,
    sapoTemperaturePos: 1,
    sapoTemperatureNeg: 1.05,
    maxCompletionLength: 8,
  };
}

function rows(inputs: Case, from: number, to: number): Case {
  const part = (values: Float64Array) => values.slice(from * T, to * T);
  return {
    logProbs: part(inputs.logProbs),
    oldLogProbs: part(inputs.oldLogProbs),
    refLogProbs: part(inputs.refLogProbs),
    completionMask: part(inputs.completionMask),
    entropies: part(inputs.entropies),
    advantages: inputs.advantages.slice(from, to),
  };
}

function checkGradient(name: string, inputs: Case, options: GRPOLossOptions): void {
  const { gradLogProbs } = grpoLoss(inputs, options);
  // Log-probabilities under the mask must not matter: give the differences numbers to move.
  const at = inputs.logProbs.map((value) => Number.isNaN(value) ? -1 : value);
  const scalar = (logProbs: Float64Array) => grpoLoss({ ...inputs, logProbs }, options).loss;
  assertGradient(name, scalar, at, gradLogProbs);
}

for (const lossType of GRPO_LOSS_TYPES) {
  for (const level of LEVELS) {
    const options = { ...optionsFor(lossType), importanceSamplingLevel: level };

    // cispo's and vespo's weights are constants to the gradient, not to differences.
    if (lossType !== "cispo" && lossType !== "vespo") {
      Deno.test(`grpoLoss() ${lossType} per ${level}: the gradient is that of finite differences`, () => {
        checkGradient(lossType, randomCase(1), options);
        checkGradient(`${lossType} delta`, randomCase(2), { ...options, delta: 1.35 });
        checkGradient(`${lossType} corrected KL`, randomCase(3), {
          ...options,
          useBiasCorrectionKl: true,
        });
      });
    }

    Deno.test(`grpoLoss() ${lossType} per ${level}: uneven micro-batches add up to one batch`, () => {
      const inputs = randomCase(4);
      const whole = grpoLoss(inputs, options);
      const wholeBatch = countBatch(inputs.completionMask, N);
      const parts = [[0, 1], [1, 4], [4, 6]].map(([from, to]) =>
        grpoLoss(rows(inputs, from, to), { ...options, wholeBatch })
      );
      assertAlmostEquals(parts.reduce((sum, part) => sum + part.loss, 0), whole.loss, 1e-13);
      const gradient = parts.flatMap((part) => [...part.gradLogProbs]);
      gradient.forEach((g, i) => assertAlmostEquals(g, whole.gradLogProbs[i], 1e-15));
      assert(gradient.some((g) => g !== 0));
    });
  }

  Deno.test(`grpoLoss() ${lossType} ignores masked tokens, whatever they hold`, () => {
    const inputs = randomCase(5);
    const { loss, gradLogProbs, metrics } = grpoLoss(inputs, optionsFor(lossType));
    assert(Number.isFinite(loss));
    assert(Object.values(metrics).every(Number.isFinite), JSON.stringify(metrics));
    gradLogProbs.forEach((g, i) => {
      if (inputs.completionMask[i] === 0) assertEquals(g, 0);
      else assert(Number.isFinite(g));
    });
  });

  Deno.test(`grpoLoss() ${lossType}: the first step after sampling pushes along the advantage`, () => {
    const inputs = randomCase(6);
    const { gradLogProbs } = grpoLoss({ ...inputs, oldLogProbs: null }, {
      ...optionsFor(lossType),
      beta: 0,
    });
    gradLogProbs.forEach((g, i) => {
      const expected = inputs.completionMask[i] === 0 ? 0 : -inputs.advantages[Math.floor(i / T)];
      assertEquals(Math.sign(g) + 0, Math.sign(expected) + 0);
    });
  });
}

Deno.test("cispo and vespo weigh log π with a constant: the gradient is weight times advantage", () => {
  const inputs: GRPOLossInputs = {
    logProbs: [-1, -1],
    oldLogProbs: [-1 - Math.log(3), -1],
    completionMask: [1, 1],
    advantages: [2],
  };
  const cispo = grpoLoss(inputs, { lossType: "cispo", epsilonHigh: 2 });
  assertAlmostEquals(cispo.gradLogProbs[0], -2 * 2 / 2, 1e-12); // ratio 3, bounded at 2
  assertAlmostEquals(cispo.gradLogProbs[1], -1 * 2 / 2, 1e-12);
  assertEquals(cispo.metrics.cispo_clip_ratio, 0.5);
  const vespo = grpoLoss(inputs, { lossType: "vespo" });
  const phi = Math.exp(3) * 3 ** 2 * Math.exp(-9); // w = 3, k = 2, λ = 3
  assertAlmostEquals(vespo.gradLogProbs[0], -phi * 2 / 2, 1e-12);
});

Deno.test("a clipped token gets no gradient, and the metrics say on which side", () => {
  const inputs: GRPOLossInputs = {
    logProbs: [Math.log(1.5), Math.log(0.5), Math.log(1.5), Math.log(0.5)],
    oldLogProbs: [0, 0, 0, 0],
    completionMask: [1, 1, 1, 1],
    advantages: [1, -1],
  };
  const { gradLogProbs, metrics } = grpoLoss(inputs, { lossType: "dapo" });
  // A > 0: the ratio above is clipped, the one below is not; A < 0: the other way round.
  assertEquals([...gradLogProbs].map((g) => Math.sign(g) + 0), [0, -1, 1, 0]);
  assertEquals(metrics["clip_ratio/high_mean"], 0.25);
  assertEquals(metrics["clip_ratio/low_mean"], 0.25);
  assertEquals(metrics["clip_ratio/region_mean"], 0.5);
  assertEquals([metrics["clip_ratio/low_min"], metrics["clip_ratio/high_max"]], [0, 0.5]);
});

Deno.test("GSPO gives every token of a sequence the same push", () => {
  const inputs = randomCase(7);
  const { gradLogProbs } = grpoLoss(inputs, {
    lossType: "grpo",
    importanceSamplingLevel: "sequence",
    epsilon: 10,
  });
  for (const [row, length] of [[0, 5], [1, 3], [5, 5]]) {
    const grads = gradLogProbs.slice(row * T, row * T + length);
    assert(grads.every((g) => g === grads[0] && g !== 0));
  }
});

Deno.test("topEntropyQuantile keeps the policy gradient of the most uncertain tokens alone", () => {
  const inputs = randomCase(8);
  const options: GRPOLossOptions = { lossType: "dapo", epsilon: 10, topEntropyQuantile: 0.25 };
  const { gradLogProbs } = grpoLoss(inputs, options);
  const threshold = highEntropyThreshold(inputs.entropies, inputs.completionMask, 0.25);
  gradLogProbs.forEach((g, i) => {
    const isKept = inputs.completionMask[i] === 1 && inputs.entropies[i] >= threshold &&
      inputs.advantages[Math.floor(i / T)] !== 0;
    assertEquals(g !== 0, isKept);
  });
  // With the whole batch's threshold, micro-batches add up.
  const wholeBatch = countBatch(inputs.completionMask, N);
  const parts = [[0, 2], [2, 6]].flatMap(([from, to]) => [
    ...grpoLoss(rows(inputs, from, to), { ...options, wholeBatch, entropyThreshold: threshold })
      .gradLogProbs,
  ]);
  parts.forEach((g, i) => assertAlmostEquals(g, gradLogProbs[i], 1e-15));
});

Deno.test("offPolicyMaskThreshold drops bad sequences that the policy has left", () => {
  const inputs: GRPOLossInputs = {
    logProbs: [-2, -2, -1, -2],
    oldLogProbs: [-1, -1, -1, -1],
    completionMask: [1, 1, 1, 1],
    advantages: [-1, 1, -1, 0],
  };
  const { gradLogProbs } = grpoLoss(inputs, {
    lossType: "dapo",
    epsilon: 10,
    offPolicyMaskThreshold: 0.5,
  });
  assertEquals([...gradLogProbs].map((g) => Math.sign(g) + 0), [0, -1, 1, 0]);
});

Deno.test("a batch in which everything is masked has loss 0 and no gradient", () => {
  const inputs: GRPOLossInputs = {
    logProbs: [NaN, NaN],
    completionMask: [0, 0],
    advantages: [1],
    entropies: [NaN, NaN],
  };
  for (const lossType of GRPO_LOSS_TYPES) {
    const { loss, gradLogProbs, metrics } = grpoLoss(inputs, {
      ...optionsFor(lossType),
      beta: 0,
    });
    assertEquals([loss, ...gradLogProbs].map((x) => x + 0), [0, 0, 0]);
    assert(Object.values(metrics).every(Number.isFinite), JSON.stringify(metrics));
  }
});

Deno.test("grpoLoss() names what is missing or does not fit", () => {
  const inputs = randomCase(9);
  const fails = (some: Partial<GRPOLossInputs>, options: GRPOLossOptions, message: string) =>
    assertThrows(() => grpoLoss({ ...inputs, ...some }, options), RangeError, message);
  fails({}, { lossType: "sapo" }, "sapo_temperature_pos");
  fails({}, { lossType: "dr_grpo" }, "max_completion_length");
  fails({ refLogProbs: null }, { lossType: "grpo", beta: 0.1 }, "refLogProbs");
  fails({ entropies: null }, { lossType: "grpo", topEntropyQuantile: 0.2 }, "entropies");
  fails({ completionMask: [1] }, { lossType: "grpo" }, "completionMask has 1 entries");
  fails({ advantages: [1, 2, 3, 4] }, { lossType: "grpo" }, "do not split into 4 rows");
});

Deno.test("delta bounds what a large ratio with a negative advantage costs, and its gradient", () => {
  const inputs: GRPOLossInputs = {
    logProbs: [Math.log(3), Math.log(1.2)],
    oldLogProbs: [0, 0],
    completionMask: [1, 1],
    advantages: [-1],
  };
  const free = grpoLoss(inputs, { lossType: "dapo" });
  assertAlmostEquals(free.loss, (3 + 1.2) / 2, 1e-12);
  assertAlmostEquals(free.gradLogProbs[0], 3 / 2, 1e-12);
  const bounded = grpoLoss(inputs, { lossType: "dapo", delta: 1.5 });
  assertAlmostEquals(bounded.loss, (1.5 + 1.2) / 2, 1e-12);
  assertEquals(bounded.gradLogProbs[0] + 0, 0);
  assertAlmostEquals(bounded.gradLogProbs[1], 1.2 / 2, 1e-12);
});

Deno.test("each loss type divides by its own size", () => {
  // Two completions of 1 and 3 tokens, ratios 1, advantage −1: the loss of every token is 1.
  const inputs: GRPOLossInputs = {
    logProbs: new Float64Array(8).fill(-1),
    completionMask: [1, 0, 0, 0, 1, 1, 1, 0],
    advantages: [-1, -1],
  };
  const loss = (lossType: GRPOLossType) =>
    grpoLoss(inputs, { ...optionsFor(lossType), beta: 0, epsilonHigh: 5 }).loss;
  assertAlmostEquals(loss("grpo"), (1 + 1) / 2, 1e-12);
  assertAlmostEquals(loss("bnpo"), 1, 1e-12);
  assertAlmostEquals(loss("dapo"), 1, 1e-12);
  assertAlmostEquals(loss("dr_grpo"), 4 / (2 * 8), 1e-12);
  assertAlmostEquals(loss("luspo"), (1 + 3) / 2, 1e-12);
  assertAlmostEquals(loss("sapo"), 2 / 1.05, 1e-12); // 4/τ · σ(0)
});
