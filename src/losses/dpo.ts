/**
 * Direct preference optimization: the loss of a batch of pairs from their summed log-probabilities,
 * with the gradient that the model's backward pass starts from.
 *
 * @module
 */
import {
  DPO_PAIR_LOSS_TYPES,
  dpoPairLosses,
  type DPOPairLossType,
  type DPOPairSettings,
} from "./dpo_pair_losses.ts";
import { type DPOTransportLossType, transportLoss } from "./dpo_transport_losses.ts";
import { divergenceScore, type FDivergence } from "./f_divergence.ts";

// B pairs

/** Every value of `dpo.loss_type`. `sft` is the cross entropy of the chosen answers' tokens. */
export const DPO_LOSS_TYPES = [...DPO_PAIR_LOSS_TYPES, "aot", "aot_unpaired", "sft"] as const;

/** A value of `dpo.loss_type`. */
export type DPOLossType = DPOPairLossType | DPOTransportLossType | "sft";

/** What the loss is computed from. */
export interface DPOLossInputs {
  /** log π_θ of the chosen answers, summed over completion tokens, [B]. */
  chosenLogProbs: ArrayLike<number>;
  /** log π_θ of the rejected answers, [B]. */
  rejectedLogProbs: ArrayLike<number>;
  /** log π_ref of the chosen answers, [B]; may be absent if `referenceFree`. */
  refChosenLogProbs?: ArrayLike<number>;
  /** log π_ref of the rejected answers, [B]; may be absent if `referenceFree`. */
  refRejectedLogProbs?: ArrayLike<number>;
  /** Completion tokens of the chosen answers, [B]; needed by ipo, sigmoid_norm and sft. */
  chosenLengths?: ArrayLike<number>;
  /** Completion tokens of the rejected answers, [B]; needed by ipo and sigmoid_norm. */
  rejectedLengths?: ArrayLike<number>;
}

/** The `dpo` section of a config, as the loss needs it. */
export interface DPOLossOptions {
  /** One loss or several, which are added up. */
  lossTypes: readonly DPOLossType[];
  /** One weight a loss type; default 1 each. */
  lossWeights?: readonly number[];
  /** Default 0.1. */
  beta?: number;
  /** Default 0. */
  labelSmoothing?: number;
  /** Take the reference's log-probabilities as 0. */
  referenceFree?: boolean;
  /** Default reverse_kl. */
  fDivergence?: FDivergence;
  /** α of alpha_divergence; default 0.5. */
  alphaDivergenceCoefficient?: number;
  /** τ of discopop; default 0.05. */
  discopopTau?: number;
  /** `token` (TRL, default): ipo divides scores by completion length; `none`: it does not. */
  ipoNormalization?: "token" | "none";
  /** Size of the whole accumulated batch; default: this batch is all of it. */
  wholeBatch?: {
    /** Pairs: what the sum of pair losses is divided by. */
    pairs: number;
    /** Tokens of all chosen answers: what the sft term is divided by. */
    chosenTokens?: number;
  };
}

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
  /** β (log π_θ − log π_ref) of the chosen answers, [B]. */
  chosenRewards: Float64Array;
  /** The same of the rejected answers, [B]. */
  rejectedRewards: Float64Array;
  /** rewards/chosen, rewards/rejected, rewards/accuracies, rewards/margins, logps/chosen, logps/rejected. */
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
  if (weights.length !== lossTypes.length) {
    throw new RangeError(
      `Cannot combine DPO losses: ${lossTypes.length} loss types but ${weights.length} weights; ` +
        "give dpo.loss_weights one number for each of dpo.loss_type",
    );
  }

  const losses = new Float64Array(B); // [B]
  const gradChosenLogProbs = new Float64Array(B); // [B]
  const gradRejectedLogProbs = new Float64Array(B); // [B]
  let hasPairLosses = true, batchLoss = 0;
  lossTypes.forEach((type, index) => {
    const weight = weights[index];
    if (type === "sft") {
      hasPairLosses = false;
      const lengths = requireLengths(inputs.chosenLengths, B, "sft", "chosenLengths");
      let tokens = 0, logProb = 0;
      for (let i = 0; i < B; i++) {
        tokens += lengths[i];
        logProb += inputs.chosenLogProbs[i];
      }
      // Mean cross entropy over the chosen answers' tokens: −Σ log π_θ / Σ |y_w|.
      const divisor = Math.max(options.wholeBatch?.chosenTokens ?? tokens, 1);
      batchLoss -= weight * logProb / divisor;
      for (let i = 0; i < B; i++) gradChosenLogProbs[i] -= weight / divisor;
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
        const scale = weight / pairDivisor;
        losses[i] += weight * pair.loss;
        batchLoss += scale * pair.loss;
        gradChosenLogProbs[i] += scale *
          ((pair.byChosenScore ?? 0) * chosenSlope + (pair.byChosenLogRatio ?? 0));
        gradRejectedLogProbs[i] += scale *
          ((pair.byRejectedScore ?? 0) * rejectedSlope + (pair.byRejectedLogRatio ?? 0));
      }
    }
  });

  const chosenRewards = new Float64Array(B), rejectedRewards = new Float64Array(B); // [B]
  for (let i = 0; i < B; i++) {
    chosenRewards[i] = beta * (inputs.chosenLogProbs[i] - refChosen[i]);
    rejectedRewards[i] = beta * (inputs.rejectedLogProbs[i] - refRejected[i]);
  }
  return {
    loss: batchLoss,
    losses: hasPairLosses ? losses : null,
    gradChosenLogProbs,
    gradRejectedLogProbs,
    chosenRewards,
    rejectedRewards,
    metrics: {
      "rewards/chosen": mean(chosenRewards),
      "rewards/rejected": mean(rejectedRewards),
      "rewards/accuracies": mean(chosenRewards.map((c, i) => c > rejectedRewards[i] ? 1 : 0)),
      "rewards/margins": mean(chosenRewards.map((c, i) => c - rejectedRewards[i])),
      "logps/chosen": mean(inputs.chosenLogProbs),
      "logps/rejected": mean(inputs.rejectedLogProbs),
    },
  };
}

function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return values.length === 0 ? 0 : sum / values.length;
}

function readSettings(options: DPOLossOptions): DPOPairSettings {
  const settings = {
    beta: options.beta ?? 0.1,
    labelSmoothing: options.labelSmoothing ?? 0,
    discopopTau: options.discopopTau ?? 0.05,
    ipoPerToken: options.ipoNormalization !== "none",
  };
  const { beta, labelSmoothing, discopopTau } = settings;
  const { lossTypes } = options;
  if (lossTypes.length === 0) {
    throw new RangeError("Cannot compute a DPO loss: dpo.loss_type names none; want at least one");
  }
  const unknown = lossTypes.find((type) => !DPO_LOSS_TYPES.includes(type));
  if (unknown !== undefined) {
    throw new RangeError(
      `Cannot compute a DPO loss: "${unknown}" is not a loss type; want one of ${
        DPO_LOSS_TYPES.join(", ")
      }; correct dpo.loss_type`,
    );
  }
  if (!(beta > 0)) {
    throw new RangeError(`Cannot compute a DPO loss: dpo.beta is ${beta}, want a number above 0`);
  }
  if (!(labelSmoothing >= 0 && labelSmoothing < 0.5)) {
    throw new RangeError(
      `Cannot compute a DPO loss: dpo.label_smoothing is ${labelSmoothing}, want 0 or more and ` +
        "below 0.5 (at 0.5 the labels say nothing)",
    );
  }
  if (lossTypes.includes("exo_pair") && labelSmoothing === 0) {
    throw new RangeError(
      "Cannot compute the exo_pair loss with label_smoothing 0: it takes the logarithm of it; " +
        "set dpo.label_smoothing, the paper has 1e-3",
    );
  }
  if (!(discopopTau > 0)) {
    throw new RangeError(
      `Cannot compute a DPO loss: dpo.discopop_tau is ${discopopTau}, want a number above 0`,
    );
  }
  return settings;
}

function readReference(
  inputs: DPOLossInputs,
  options: DPOLossOptions,
  B: number,
): { refChosen: ArrayLike<number>; refRejected: ArrayLike<number> } {
  const zeros = options.referenceFree ? new Float64Array(B) : undefined;
  const refChosen = zeros ?? inputs.refChosenLogProbs;
  const refRejected = zeros ?? inputs.refRejectedLogProbs;
  if (
    refChosen?.length !== B || refRejected?.length !== B || inputs.rejectedLogProbs.length !== B
  ) {
    throw new RangeError(
      `Cannot compute a DPO loss: got ${B} chosen, ${inputs.rejectedLogProbs.length} rejected, ` +
        `${refChosen?.length ?? "no"} reference chosen and ${refRejected?.length ?? "no"} ` +
        "reference rejected log-probabilities; want as many of each, or referenceFree",
    );
  }
  return { refChosen, refRejected };
}

function requireLengths(
  lengths: ArrayLike<number> | undefined,
  B: number,
  type: DPOLossType,
  name: string,
): ArrayLike<number> {
  if (lengths?.length === B) return lengths;
  throw new RangeError(
    `Cannot compute the ${type} loss: got ${lengths?.length ?? "no"} ${name}, want ${B}; ` +
      "pass the number of completion tokens of each answer",
  );
}
