/** DPO's losses against values and gradients that TRL's own functions gave (`trl/record.py`). */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { dpoLoss, type DPOLossOptions, type DPOLossType } from "../../src/losses/dpo.ts";
import {
  type DPOPair,
  lossInputs,
  policyWeights,
  spreadPairs,
  sumPairs,
} from "../../src/train/dpo/examples.ts";
import { assertLogitGradient, assertMetrics, B, cases, policy } from "./trl/recorded.ts";
import { reference, sharpenedLogProbs, tokenLogProbs } from "./trl/recorded.ts";

const nothing = { inputIds: [], labels: [] };
const pairs = Array.from({ length: B }, (_, i): DPOPair => ({
  chosen: nothing,
  rejected: nothing,
  chosenLength: cases.lengths[i],
  rejectedLength: cases.lengths[B + i],
  images: [],
  row: i,
}));

/** Values of chosen and rejected answers as a batch has them: pair by pair. */
const ofBatch = (of: (n: number) => number[]) =>
  Array.from({ length: B }, (_, i) => [...of(i), ...of(B + i)]).flat();

/** The other way round: a list for each answer, those chosen first. */
function byAnswer(values: ArrayLike<number>): number[][] {
  const answers: number[][] = [];
  let at = 0;
  pairs.forEach(({ chosenLength, rejectedLength }, i) => {
    answers[i] = Array.from(values).slice(at, at += chosenLength);
    answers[B + i] = Array.from(values).slice(at, at += rejectedLength);
  });
  return answers;
}

interface Recorded {
  readonly loss: number;
  readonly gradient: readonly number[];
  readonly metrics: Readonly<Record<string, number>>;
}

function compare(
  options: DPOLossOptions,
  recorded: Recorded,
  { ldAlpha = null, weighs = false }: { ldAlpha?: number | null; weighs?: boolean } = {},
): string[] {
  const values = ofBatch((n) => tokenLogProbs(policy, n));
  const sums = sumPairs(pairs, values, ldAlpha);
  const weights = weighs
    ? { weights: policyWeights(pairs, values, ofBatch(sharpenedLogProbs)) }
    : {};
  const ref = sumPairs(pairs, ofBatch((n) => tokenLogProbs(reference, n)), ldAlpha);
  const result = dpoLoss(lossInputs(pairs, { ...sums, ...weights }, ref), options);
  // TRL computes ORPO's odds in float32.
  const tolerance = options.lossTypes[0] === "orpo" ? 1e-6 : 1e-9;
  assertAlmostEquals(result.loss, recorded.loss, tolerance);
  const slopes = spreadPairs(pairs, {
    byChosen: result.gradChosenLogProbs,
    byRejected: result.gradRejectedLogProbs,
    byPlainChosen: result.gradChosenTokenLogProbs,
  }, ldAlpha);
  // Slopes are float32, as the model's backward pass gets them.
  assertLogitGradient(byAnswer(slopes), recorded.gradient, undefined, 1e-7);
  return assertMetrics(result.metrics, recorded.metrics);
}

cases.dpo.forEach(({ settings, ...recorded }) => {
  const { loss_types, loss_weights, ld_alpha, use_weighting, f_divergence_type } = settings;
  const name = `${loss_types.join(" + ")}, ld_alpha ${ld_alpha}, use_weighting ${use_weighting}`;
  Deno.test(`DPO with ${name}: loss, gradient and metrics are TRL's`, () => {
    const options = {
      lossTypes: loss_types as DPOLossType[],
      lossWeights: loss_weights,
      beta: settings.beta,
      labelSmoothing: settings.label_smoothing,
      fDivergence: f_divergence_type as DPOLossOptions["fDivergence"],
    };
    const compared = compare(options, recorded, { ldAlpha: ld_alpha, weighs: use_weighting });
    assertEquals(compared.length, 6);
  });
});

cases.cpo.forEach(({ settings, ...recorded }) => {
  const { loss_type, cpo_alpha, simpo_gamma, alpha, beta, label_smoothing } = settings;
  const type = loss_type === "sigmoid" ? "cpo" : "simpo";
  Deno.test(`${type} with cpo_alpha ${cpo_alpha}, alpha ${alpha}: loss, gradient and metrics are TRL's`, () => {
    const options: DPOLossOptions = {
      lossTypes: [type],
      beta,
      labelSmoothing: label_smoothing,
      cpoAlpha: cpo_alpha,
      simpoGamma: simpo_gamma,
      alpha,
    };
    const compared = compare(options, recorded);
    assert(compared.length >= 6);
    if (type === "simpo" && cpo_alpha === 0) {
      compare({ ...options, lossTypes: ["alphapo"], cpoAlpha: 3 }, recorded);
    }
  });
});

cases.orpo.forEach(({ settings: { beta }, ...recorded }) => {
  Deno.test(`orpo with beta ${beta}: loss, gradient and metrics are TRL's`, () => {
    const compared = compare({ lossTypes: ["orpo"], beta }, recorded);
    assertEquals(compared.sort(), [
      "log_odds_chosen",
      "log_odds_ratio",
      "logps/chosen",
      "logps/rejected",
      "nll_loss",
      "rewards/accuracies",
      "rewards/chosen",
      "rewards/margins",
      "rewards/rejected",
    ]);
  });
});
