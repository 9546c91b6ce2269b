import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  DPO_LOSS_TYPES,
  dpoLoss,
  type DPOLossInputs,
  type DPOLossOptions,
  type DPOLossType,
} from "../../src/losses/dpo.ts";
import { RandomStream } from "../../src/random.ts";
import { assertGradient } from "./finite_difference.ts";

const B = 6;

/** What every loss of pairs is computed from. */
type Inputs = Required<Omit<DPOLossInputs, "chosenTokenLogProbs" | "pairWeights">>;

function randomInputs(seed: number): Inputs {
  const random = new RandomStream(seed, "dpo test");
  const some = (mean: number, spread: number) =>
    Float64Array.from({ length: B }, () => mean + spread * random.nextNormal());
  return {
    chosenLogProbs: some(-9, 3),
    rejectedLogProbs: some(-9, 3),
    refChosenLogProbs: some(-9, 3),
    refRejectedLogProbs: some(-9, 3),
    chosenLengths: Array.from({ length: B }, () => 1 + random.nextInt(6)),
    rejectedLengths: Array.from({ length: B }, () => 1 + random.nextInt(6)),
  };
}

function optionsFor(type: DPOLossType): DPOLossOptions {
  return { lossTypes: [type], beta: 0.3, labelSmoothing: 0.1 };
}

function slice(inputs: Inputs, from: number, to: number): Inputs {
  const part = (values: ArrayLike<number>) => Array.from(values).slice(from, to);
  return {
    chosenLogProbs: part(inputs.chosenLogProbs),
    rejectedLogProbs: part(inputs.rejectedLogProbs),
    refChosenLogProbs: part(inputs.refChosenLogProbs),
    refRejectedLogProbs: part(inputs.refRejectedLogProbs),
    chosenLengths: part(inputs.chosenLengths),
    rejectedLengths: part(inputs.rejectedLengths),
  };
}

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);

function checkGradients(
  name: string,
  inputs: Inputs,
  options: DPOLossOptions,
): void {
  const result = dpoLoss(inputs, options);
  assertGradient(
    `${name} chosen`,
    (chosenLogProbs) => dpoLoss({ ...inputs, chosenLogProbs }, options).loss,
    Float64Array.from(inputs.chosenLogProbs),
    result.gradChosenLogProbs,
  );
  assertGradient(
    `${name} rejected`,
    (rejectedLogProbs) => dpoLoss({ ...inputs, rejectedLogProbs }, options).loss,
    Float64Array.from(inputs.rejectedLogProbs),
    result.gradRejectedLogProbs,
  );
}

for (const type of DPO_LOSS_TYPES) {
  Deno.test(`dpoLoss() ${type}: the gradient is that of finite differences`, () => {
    checkGradients(type, randomInputs(1), optionsFor(type));
    checkGradients(`${type} reference-free`, randomInputs(2), {
      ...optionsFor(type),
      referenceFree: true,
    });
  });

  if (type === "aot" || type === "aot_unpaired") continue; // they sort over the batch
  Deno.test(`dpoLoss() ${type}: uneven micro-batches add up to one batch`, () => {
    const inputs = randomInputs(3), options = optionsFor(type);
    const whole = dpoLoss(inputs, options);
    const wholeBatch = { pairs: B, chosenTokens: sum(inputs.chosenLengths) };
    const parts = [[0, 1], [1, 4], [4, 6]].map(([from, to]) =>
      dpoLoss(slice(inputs, from, to), { ...options, wholeBatch })
    );
    assertAlmostEquals(sum(parts.map((part) => part.loss)), whole.loss, 1e-12);
    const chosen = parts.flatMap((part) => [...part.gradChosenLogProbs]);
    const rejected = parts.flatMap((part) => [...part.gradRejectedLogProbs]);
    chosen.forEach((g, i) => assertAlmostEquals(g, whole.gradChosenLogProbs[i], 1e-14));
    rejected.forEach((g, i) => assertAlmostEquals(g, whole.gradRejectedLogProbs[i], 1e-14));
  });
}

Deno.test("dpoLoss() has the right gradient under every divergence", () => {
  for (const fDivergence of ["forward_kl", "js_divergence", "alpha_divergence"] as const) {
    for (const type of ["sigmoid", "apo_down", "nca_pair", "ipo"] as const) {
      const inputs = randomInputs(4);
      // Small log ratios: forward_kl grows like e^−x.
      inputs.refChosenLogProbs = Float64Array.from(
        inputs.chosenLogProbs,
        (x, i) => x + 0.3 * i - 1,
      );
      inputs.refRejectedLogProbs = Float64Array.from(
        inputs.rejectedLogProbs,
        (x, i) => x - 0.2 * i,
      );
      checkGradients(`${type} ${fDivergence}`, inputs, { ...optionsFor(type), fDivergence });
    }
  }
});

Deno.test("dpoLoss() stays finite if log ratios are huge", () => {
  for (
    const type of ["sigmoid", "robust", "bco_pair", "nca_pair", "apo_zero", "exo_pair"] as const
  ) {
    const { loss, gradChosenLogProbs } = dpoLoss({
      chosenLogProbs: [-5000, -1],
      rejectedLogProbs: [-1, -5000],
      refChosenLogProbs: [-1, -1],
      refRejectedLogProbs: [-1, -1],
    }, { lossTypes: [type], beta: 1, labelSmoothing: 0.01 });
    assertEquals([Number.isFinite(loss), gradChosenLogProbs.every(Number.isFinite)], [true, true]);
  }
});

Deno.test("dpoLoss() combines losses with their weights, and rewards stay those of one", () => {
  const inputs = randomInputs(5);
  const of = (lossTypes: DPOLossType[], lossWeights?: number[]) =>
    dpoLoss(inputs, { lossTypes, lossWeights, beta: 0.2 });
  const combined = of(["sigmoid", "sft"], [0.8, 2]);
  const sigmoid = of(["sigmoid"]), sft = of(["sft"]);
  assertAlmostEquals(combined.loss, 0.8 * sigmoid.loss + 2 * sft.loss, 1e-12);
  combined.gradChosenLogProbs.forEach((g, i) =>
    assertAlmostEquals(
      g,
      0.8 * sigmoid.gradChosenLogProbs[i] + 2 * sft.gradChosenLogProbs[i],
      1e-14,
    )
  );
  assertEquals(combined.metrics, sigmoid.metrics);
});

Deno.test("dpoLoss() sft is the mean cross entropy over the chosen answers' tokens", () => {
  const inputs = randomInputs(6);
  const { loss } = dpoLoss(inputs, { lossTypes: ["sft"] });
  assertAlmostEquals(loss, -sum(inputs.chosenLogProbs) / sum(inputs.chosenLengths), 1e-12);
});

Deno.test("dpoLoss() counts a tie as wrong", () => {
  const even = {
    chosenLogProbs: [-1, -1],
    rejectedLogProbs: [-1, -2],
    refChosenLogProbs: [0, 0],
    refRejectedLogProbs: [0, 0],
  };
  assertEquals(dpoLoss(even, { lossTypes: ["hinge"] }).metrics["rewards/accuracies"], 0.5);
});

Deno.test("dpoLoss() names a setting that its loss cannot use", () => {
  const inputs = randomInputs(7);
  const fails = (options: Partial<DPOLossOptions>, message: string) =>
    assertThrows(
      () => dpoLoss(inputs, { lossTypes: ["sigmoid"], ...options }),
      RangeError,
      message,
    );
  fails({ lossTypes: ["exo_pair"] }, "label_smoothing 0");
  fails({ lossTypes: ["robust"], labelSmoothing: 0.5 }, "below 0.5");
  fails({ lossTypes: [] }, "at least one");
  fails({ beta: 0 }, "above 0");
  fails({ lossWeights: [1, 2] }, "2 weights");
  assertThrows(
    () => dpoLoss({ ...inputs, refChosenLogProbs: undefined }, { lossTypes: ["sigmoid"] }),
    RangeError,
    "no reference chosen",
  );
  assertThrows(
    () => dpoLoss({ ...inputs, chosenLengths: undefined }, { lossTypes: ["ipo"] }),
    RangeError,
    "chosenLengths",
  );
});

Deno.test("dpoLoss() multiplies each pair's loss by its weight", () => {
  const inputs = randomInputs(8);
  const pairWeights = Array.from({ length: B }, (_, i) => 0.2 + 0.1 * i);
  const options = optionsFor("ipo");
  const plain = dpoLoss(inputs, options), weighed = dpoLoss({ ...inputs, pairWeights }, options);
  weighed.losses!.forEach((loss, i) =>
    assertAlmostEquals(loss, pairWeights[i] * plain.losses![i], 1e-12)
  );
  weighed.gradRejectedLogProbs.forEach((slope, i) =>
    assertAlmostEquals(slope, pairWeights[i] * plain.gradRejectedLogProbs[i], 1e-12)
  );
  assertThrows(
    () => dpoLoss({ ...inputs, pairWeights }, optionsFor("aot")),
    RangeError,
    "Cannot weigh the pairs of the aot loss",
  );
});

Deno.test("dpoLoss() orpo stays finite if an answer is certain", () => {
  const { loss, gradChosenLogProbs } = dpoLoss({
    chosenLogProbs: [0, -1],
    rejectedLogProbs: [-1, 0],
    chosenLengths: [2, 3],
    rejectedLengths: [2, 3],
  }, { lossTypes: ["orpo"] });
  assertEquals([Number.isFinite(loss), gradChosenLogProbs.every(Number.isFinite)], [true, true]);
});
