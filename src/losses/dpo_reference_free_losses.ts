/**
 * Preference losses that need no reference: CPO, SimPO, AlphaPO and ORPO. They see the policy's
 * log-probabilities of whole answers, and add the cross entropy of the chosen answers' tokens.
 *
 * With c and r the log-probabilities of the chosen and the rejected answer: sums over tokens, or
 * means over them where the loss says so.
 *
 * @module
 */
import { smoothedLogistic } from "./dpo_pair_losses.ts";
import { logSigmoid, sigmoid } from "./log_sigmoid.ts";

// B pairs

/** Losses without a reference. */
export const REFERENCE_FREE_LOSS_TYPES = ["cpo", "simpo", "alphapo", "orpo"] as const;

/** The name of a loss without a reference. */
export type ReferenceFreeLossType = typeof REFERENCE_FREE_LOSS_TYPES[number];

/** Whether a loss needs no reference. */
export function isReferenceFreeLoss(type: string): type is ReferenceFreeLossType {
  return REFERENCE_FREE_LOSS_TYPES.some((name) => name === type);
}

/**
 * Whether no reference is needed for a list of loss types: at least one is of this file, and the
 * others are of this file or `sft`.
 */
export function needsNoReference(types: readonly string[]): boolean {
  return types.some(isReferenceFreeLoss) &&
    types.every((type) => type === "sft" || isReferenceFreeLoss(type));
}

/** The numbers that these losses take from the config. */
export interface ReferenceFreeSettings {
  /** `orpo`: the paper's λ. */
  beta: number;
  labelSmoothing: number;
  /** Weight of the cross entropy in `cpo` and `simpo`. */
  cpoAlpha: number;
  /** The margin of `simpo` and `alphapo`. */
  simpoGamma: number;
  /** Shape of AlphaPO's reward; 0: the log-probability itself. */
  alpha: number;
}

/** A loss of two log-probabilities, with its derivatives by them. */
export type TwoAnswersLoss = [loss: number, byChosen: number, byRejected: number];

/** Everything in which these losses differ. */
export interface ReferenceFreeLoss {
  /** Whether c and r are means over tokens instead of sums. */
  readonly averages: boolean;
  readonly formula: (c: number, r: number, settings: ReferenceFreeSettings) => TwoAnswersLoss;
  /** Weight of the cross entropy of the chosen answers' tokens. */
  readonly crossEntropyWeight: (settings: ReferenceFreeSettings) => number;
}

/**
 * AlphaPO's reward of a log-probability, and its derivative: (1 − p^−α) / α, log p if α is 0.
 * Gupta et al., "AlphaPO", arXiv 2501.03884, eq. 7.
 */
export function alphaReward(logProb: number, alpha: number): [reward: number, slope: number] {
  if (alpha === 0) return [logProb, 1];
  const power = Math.exp(-alpha * logProb);
  return [(1 - power) / alpha, power];
}

/** The logistic loss of β(reward(c) − reward(r)) − margin. */
function logisticOfRewards(
  c: number,
  r: number,
  { beta, alpha, labelSmoothing }: ReferenceFreeSettings,
  margin: number,
): TwoAnswersLoss {
  const [chosen, chosenSlope] = alphaReward(c, alpha);
  const [rejected, rejectedSlope] = alphaReward(r, alpha);
  const [loss, slope] = smoothedLogistic(beta * (chosen - rejected) - margin, labelSmoothing);
  return [loss, slope * beta * chosenSlope, -slope * beta * rejectedSlope];
}

/** A mean log-probability from which on an answer counts as certain: its odds stay finite. */
const CERTAIN = -1e-9;

/** log(p / (1 − p)) and its derivative by log p. */
function logOdds(logProb: number): [logOdds: number, slope: number] {
  const x = Math.min(logProb, CERTAIN);
  const other = -Math.expm1(x); // 1 − p
  return [x - Math.log(other), 1 / other];
}

/** log odds(c) − log odds(r). */
export function logOddsRatio(c: number, r: number): number {
  return logOdds(c)[0] - logOdds(r)[0];
}

const simpo: ReferenceFreeLoss = {
  averages: true,
  formula: (c, r, settings) => logisticOfRewards(c, r, settings, settings.simpoGamma),
  crossEntropyWeight: ({ cpoAlpha }) => cpoAlpha,
};

/** The losses by name. */
export const referenceFreeLosses: Readonly<Record<ReferenceFreeLossType, ReferenceFreeLoss>> = {
  // Xu et al., "Contrastive Preference Optimization", arXiv 2401.08417, eqs. 3 to 5, with sums over
  // tokens: −log σ(β(c − r)) + cpo_alpha · cross entropy.
  cpo: {
    averages: false,
    formula: (c, r, settings) => logisticOfRewards(c, r, settings, 0),
    crossEntropyWeight: ({ cpoAlpha }) => cpoAlpha,
  },

  // Meng et al., "SimPO", arXiv 2405.14734, eq. 6, with means over tokens:
  // −log σ(β(c − r) − γ); cpo_alpha above 0 adds the cross entropy (CPO-SimPO).
  simpo,

  // The same with the reward of AlphaPO, and no cross entropy.
  alphapo: { ...simpo, crossEntropyWeight: () => 0 },

  // Hong et al., "ORPO", arXiv 2403.07691, eqs. 4 to 7, with means over tokens:
  // cross entropy − λ log σ(log odds(c) − log odds(r)).
  orpo: {
    averages: true,
    formula: (c, r, { beta }) => {
      const [chosen, chosenSlope] = logOdds(c), [rejected, rejectedSlope] = logOdds(r);
      const ratio = chosen - rejected;
      const slope = -beta * sigmoid(-ratio);
      return [-beta * logSigmoid(ratio), slope * chosenSlope, -slope * rejectedSlope];
    },
    crossEntropyWeight: () => 1,
  },
};
