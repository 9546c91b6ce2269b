import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ktoLoss, type KTOLossType, mismatchedDivergence } from "../../src/losses/kto.ts";
import { assertGradient } from "./finite_difference.ts";
import {
  assertLogitGradient,
  assertMetrics,
  cases,
  policy,
  tokenLogProbs,
} from "./trl/recorded.ts";

cases.kto.forEach(({ settings, labels, ...recorded }) => {
  const name = `${settings.loss_type}, ${labels.filter(Boolean).length} good of ${labels.length}`;
  Deno.test(`KTO's loss, gradient and metrics are TRL's: ${name}`, () => {
    const logProbs = cases.lengths.map((_, n) =>
      tokenLogProbs(policy, n).reduce((sum, value) => sum + value, 0)
    );
    const result = ktoLoss({
      logProbs,
      refLogProbs: recorded.ref_logps,
      desirable: labels,
      divergence: recorded.kl_logps === null
        ? 0
        : mismatchedDivergence(recorded.kl_logps, recorded.ref_kl_logps!),
    }, {
      lossType: settings.loss_type as KTOLossType,
      beta: settings.beta,
      desirableWeight: settings.desirable_weight,
      undesirableWeight: settings.undesirable_weight,
    });
    assertAlmostEquals(result.loss, recorded.loss, 1e-9);
    const slopes = cases.lengths.map((length, n) =>
      new Array<number>(length).fill(result.gradLogProbs[n])
    );
    assertLogitGradient(slopes, recorded.gradient);
    assertEquals(
      assertMetrics(result.metrics, recorded.metrics as Record<string, number>).length,
      Object.keys(result.metrics).length,
    );
  });
});

const inputs = {
  logProbs: [-3, -5, -1, -8],
  refLogProbs: [-4, -4, -2, -7.5],
  desirable: [true, false, false, true],
  divergence: 0.4,
};

for (const lossType of ["kto", "apo_zero_unpaired"] as const) {
  const options = { lossType, beta: 0.3, desirableWeight: 1.4, undesirableWeight: 0.6 };
  Deno.test(`ktoLoss() ${lossType}: the gradient is that of finite differences`, () => {
    assertGradient(
      lossType,
      (logProbs) => ktoLoss({ ...inputs, logProbs }, options).loss,
      Float64Array.from(inputs.logProbs),
      ktoLoss(inputs, options).gradLogProbs,
    );
  });

  Deno.test(`ktoLoss() ${lossType}: uneven micro-batches add up to one batch`, () => {
    const part = (from: number, to: number) =>
      ktoLoss({
        logProbs: inputs.logProbs.slice(from, to),
        refLogProbs: inputs.refLogProbs.slice(from, to),
        desirable: inputs.desirable.slice(from, to),
        divergence: inputs.divergence,
      }, { ...options, answers: 4 });
    const whole = ktoLoss(inputs, options), parts = [part(0, 1), part(1, 4)];
    assertAlmostEquals(parts[0].loss + parts[1].loss, whole.loss, 1e-14);
    assertEquals(parts.flatMap(({ gradLogProbs }) => [...gradLogProbs]), [...whole.gradLogProbs]);
  });
}

Deno.test("mismatchedDivergence() is never below 0", () => {
  assertEquals(mismatchedDivergence([-5, -6], [-4, -4]), 0);
  assertEquals(mismatchedDivergence([-3, -4], [-4, -4]), 0.5);
});

Deno.test("ktoLoss() names sizes that differ", () => {
  const options = { lossType: "kto", beta: 1, desirableWeight: 1, undesirableWeight: 1 } as const;
  assertThrows(() => ktoLoss({ ...inputs, refLogProbs: [1] }, options), RangeError, "1 of the");
});
