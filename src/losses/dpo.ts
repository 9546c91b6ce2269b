/**
 * Direct preference optimization: the loss of a batch of pairs from their summed log-probabilities,
 * with the gradient that the model's backward pass starts from.
 *
 * @module
 */
import {
  type DPOLossInputs,
  type DPOLossOptions,
  type DPOLossType,
  readReference,
  readSettings,
  requireLengths,
} from "./dpo_inputs.ts";
import { dpoPairLosses } from "./dpo_pair_losses.ts";
import {
  alphaReward,
  isReferenceFreeLoss,
  logOddsRatio,
  needsNoReference,
  referenceFreeLosses,
} from "./dpo_reference_free_losses.ts";
import { transportLoss } from "./dpo_transport_losses.ts";
import { divergenceScore } from "./f_divergence.ts";

// B pairs

export {
  DPO_LOSS_TYPES,
  type DPOLossInputs,
  type DPOLossOptions,
  type DPOLossType,
} from "./dpo_inputs.ts";

/** The loss, its gradient, and what TRL logs. */
export interface DPOLossResult {
  /** Sum over pairs divided by the pairs of the whole batch (the mean, if this is all of it). */
  loss: number;
  /** Weighted loss of each pair, [B]; null if a loss type has none a pair (aot, sft). */
  losses: Float64Array | null;
  /** d loss / d chosenLogProbs, [B]; written, not added. */
  gradChosenLogProbs: Float64Array;
  /** d loss / d rejectedLogProbs, [B]; written, not added. */
  gradRejectedLogProbs: Float64Array;
  /** d loss / d chosenTokenLogProbs, [B]; null if those were not given. */
  gradChosenTokenLogProbs: Float64Array | null;
  /**
   * β (log π_θ − log π_ref) of the chosen answers, [B]; of means over tokens if every loss is
   * simpo, alphapo or orpo.
   */
  chosenRewards: Float64Array;
  /** The same of the rejected answers, [B]. */
  rejectedRewards: Float64Array;
  /**
   * rewards/chosen, rewards/rejected, rewards/accuracies, rewards/margins, logps/chosen,
   * logps/rejected; nll_loss where a cross entropy is part of the loss; log_odds_ratio and
   * log_odds_chosen of orpo.
   */
  metrics: Record<string, number>;
}

/**
 * Loss, gradient and metrics of a batch of preference pairs.
 *
 * @throws {RangeError} if lengths differ or a setting is outside what its loss can use
 *
 * @example A model that equals its reference has loss log 2 and is pushed towards the chosen answer
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { dpoLoss } from "./dpo.ts";
 *
 * const { loss, gradChosenLogProbs } = dpoLoss({
 *   chosenLogProbs: [-3], rejectedLogProbs: [-4],
 *   refChosenLogProbs: [-3], refRejectedLogProbs: [-4],
 * }, { lossTypes: ["sigmoid"], beta: 0.1 });
 * assertAlmostEquals(loss, Math.log(2), 1e-12);
 * assertAlmostEquals(gradChosenLogProbs[0], -0.05, 1e-12);
 * ```
 */
export function dpoLoss(inputs: DPOLossInputs, options: DPOLossOptions): DPOLossResult {
  const B = inputs.chosenLogProbs.length;
  const { lossTypes } = options;
  const settings = readSettings(options);
  const { beta } = settings;
  const weights = options.lossWeights ?? lossTypes.map(() => 1);
  const divergence = options.fDivergence ?? "reverse_kl";
  const alpha = options.alphaDivergenceCoefficient ?? 0.5;
  const { refChosen, refRejected } = readReference(inputs, options, B);
  const pairDivisor = options.wholeBatch?.pairs ?? B;
  const pairWeight = (i: number) => inputs.pairWeights?.[i] ?? 1;
  if (weights.length !== lossTypes.length) {
    throw new RangeError(
      `Cannot combine DPO losses: ${lossTypes.length} loss types but ${weights.length} weights; ` +
        "give dpo.loss_weights one number for each of dpo.loss_type",
    );
  }

  const losses = new Float64Array(B); // [B]
  const gradChosenLogProbs = new Float64Array(B); // [B]
  const gradRejectedLogProbs = new Float64Array(B); // [B]
  const gradTokens = inputs.chosenTokenLogProbs ? new Float64Array(B) : gradChosenLogProbs; // [B]
  const own: Record<string, number> = {};
  let hasPairLosses = true, batchLoss = 0;

  /** Mean cross entropy over the chosen answers' tokens: −Σ log π_θ / Σ |y_w|. */
  const addCrossEntropy = (weight: number, type: DPOLossType) => {
    hasPairLosses = false;
    const logProbs = inputs.chosenTokenLogProbs ?? inputs.chosenLogProbs;
    const lengths = requireLengths(inputs.chosenLengths, B, type, "chosenLengths");
    const divisor = Math.max(options.wholeBatch?.chosenTokens ?? sum(lengths), 1);
    const crossEntropy = -sum(logProbs) / divisor;
    own.nll_loss = -sum(logProbs) / Math.max(sum(lengths), 1);
    batchLoss += weight * crossEntropy;
    for (let i = 0; i < B; i++) gradTokens[i] -= weight / divisor;
  };

  lossTypes.forEach((type, index) => {
    const weight = weights[index];
    if (type === "sft") {
      addCrossEntropy(weight, type);
    } else if (isReferenceFreeLoss(type)) {
      const { averages, formula, crossEntropyWeight } = referenceFreeLosses[type];
      const chosenLengths = requireLengths(inputs.chosenLengths, B, type, "chosenLengths");
      const rejectedLengths = requireLengths(inputs.rejectedLengths, B, type, "rejectedLengths");
      let ratios = 0, logRatios = 0;
      for (let i = 0; i < B; i++) {
        const chosenLength = averages ? Math.max(chosenLengths[i], 1) : 1;
        const rejectedLength = averages ? Math.max(rejectedLengths[i], 1) : 1;
        const c = inputs.chosenLogProbs[i] / chosenLength;
        const r = inputs.rejectedLogProbs[i] / rejectedLength;
        const [loss, byChosen, byRejected] = formula(c, r, settings);
        const scale = weight / pairDivisor;
        losses[i] += weight * loss;
        batchLoss += scale * loss;
        gradChosenLogProbs[i] += scale * byChosen / chosenLength;
        gradRejectedLogProbs[i] += scale * byRejected / rejectedLength;
        if (type === "orpo") {
          ratios += -loss / beta / B;
          logRatios += logOddsRatio(c, r) / B;
        }
      }
      if (type === "orpo") {
        Object.assign(own, { log_odds_ratio: ratios, log_odds_chosen: logRatios });
      }
      const share = weight * crossEntropyWeight(settings);
      if (share !== 0) addCrossEntropy(share, type);
    } else if (type === "aot" || type === "aot_unpaired") {
      hasPairLosses = false;
      const { chosenLogProbs, rejectedLogProbs } = inputs;
      const transport = transportLoss(
        type,
        chosenLogProbs,
        rejectedLogProbs,
        refChosen,
        refRejected,
        settings,
      );
      for (let i = 0; i < B; i++) {
        batchLoss += weight * transport.losses[i] / pairDivisor;
        gradChosenLogProbs[i] += weight * transport.byChosenLogProb[i] / pairDivisor;
        gradRejectedLogProbs[i] += weight * transport.byRejectedLogProb[i] / pairDivisor;
      }
    } else {
      const byToken = type === "sigmoid_norm" || (type === "ipo" && settings.ipoPerToken);
      const chosenLengths = byToken
        ? requireLengths(inputs.chosenLengths, B, type, "chosenLengths")
        : null;
      const rejectedLengths = byToken
        ? requireLengths(inputs.rejectedLengths, B, type, "rejectedLengths")
        : null;
      const pairLoss = dpoPairLosses[type];
      for (let i = 0; i < B; i++) {
        const chosenLogRatio = inputs.chosenLogProbs[i] - refChosen[i];
        const rejectedLogRatio = inputs.rejectedLogProbs[i] - refRejected[i];
        const [chosenScore, chosenSlope] = divergenceScore(chosenLogRatio, divergence, alpha);
        const [rejectedScore, rejectedSlope] = divergenceScore(rejectedLogRatio, divergence, alpha);
        const pair = pairLoss({
          chosenScore,
          rejectedScore,
          chosenLogRatio,
          rejectedLogRatio,
          chosenLength: Math.max(chosenLengths?.[i] ?? 1, 1),
          rejectedLength: Math.max(rejectedLengths?.[i] ?? 1, 1),
        }, settings);
        const scale = weight * pairWeight(i) / pairDivisor;
        losses[i] += weight * pairWeight(i) * pair.loss;
        batchLoss += scale * pair.loss;
        gradChosenLogProbs[i] += scale *
          ((pair.byChosenScore ?? 0) * chosenSlope + (pair.byChosenLogRatio ?? 0));
        gradRejectedLogProbs[i] += scale *
          ((pair.byRejectedScore ?? 0) * rejectedSlope + (pair.byRejectedLogRatio ?? 0));
      }
    }
  });

  const chosenRewards = new Float64Array(B), rejectedRewards = new Float64Array(B); // [B]
  // What the losses compare: means over tokens if all of them do.
  const averages = needsNoReference(lossTypes) &&
    lossTypes.every((type) => isReferenceFreeLoss(type) && referenceFreeLosses[type].averages);
  const chosen = averaged(inputs.chosenLogProbs, averages ? inputs.chosenLengths : undefined);
  const rejected = averaged(inputs.rejectedLogProbs, averages ? inputs.rejectedLengths : undefined);
  const shape = needsNoReference(lossTypes) ? settings.alpha : 0;
  for (let i = 0; i < B; i++) {
    chosenRewards[i] = beta * alphaReward(chosen[i] - refChosen[i], shape)[0];
    rejectedRewards[i] = beta * alphaReward(rejected[i] - refRejected[i], shape)[0];
  }
  return {
    loss: batchLoss,
    losses: hasPairLosses ? losses : null,
    gradChosenLogProbs,
    gradRejectedLogProbs,
    gradChosenTokenLogProbs: inputs.chosenTokenLogProbs ? gradTokens : null,
    chosenRewards,
    rejectedRewards,
    metrics: {
      "rewards/chosen": mean(chosenRewards),
      "rewards/rejected": mean(rejectedRewards),
      "rewards/accuracies": mean(chosenRewards.map((c, i) => c > rejectedRewards[i] ? 1 : 0)),
      "rewards/margins": mean(chosenRewards.map((c, i) => c - rejectedRewards[i])),
      "logps/chosen": mean(chosen),
      "logps/rejected": mean(rejected),
      ...(needsNoReference(lossTypes) ? own : {}),
    },
  };
}

/** Log-probabilities of answers divided by their lengths, if there are some. */
function averaged(logProbs: ArrayLike<number>, lengths?: ArrayLike<number>): Float64Array {
  return Float64Array.from(logProbs, (value, i) => value / Math.max(lengths?.[i] ?? 1, 1));
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

function mean(values: ArrayLike<number>): number {
  return values.length === 0 ? 0 : sum(values) / values.length;
}
