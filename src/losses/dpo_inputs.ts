/**
 * What a DPO loss is given, and its checks: its settings, the reference's log-probabilities, lengths.
 *
 * @module
 */
import {
  DPO_PAIR_LOSS_TYPES,
  type DPOPairLossType,
  type DPOPairSettings,
} from "./dpo_pair_losses.ts";
import {
  needsNoReference,
  REFERENCE_FREE_LOSS_TYPES,
  type ReferenceFreeLossType,
  type ReferenceFreeSettings,
} from "./dpo_reference_free_losses.ts";
import type { DPOTransportLossType } from "./dpo_transport_losses.ts";
import type { FDivergence } from "./f_divergence.ts";

// B pairs

/** Every value of `dpo.loss_type`. `sft` is the cross entropy of the chosen answers' tokens. */
export const DPO_LOSS_TYPES = [
  ...DPO_PAIR_LOSS_TYPES,
  "aot",
  "aot_unpaired",
  "sft",
  ...REFERENCE_FREE_LOSS_TYPES,
] as const;

/** A value of `dpo.loss_type`. */
export type DPOLossType = DPOPairLossType | DPOTransportLossType | ReferenceFreeLossType | "sft";

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
  /**
   * Completion tokens of the chosen answers, [B]; needed by ipo, sigmoid_norm, sft and the losses
   * without a reference.
   */
  chosenLengths?: ArrayLike<number>;
  /** Completion tokens of the rejected answers, [B]; needed by the same losses but sft. */
  rejectedLengths?: ArrayLike<number>;
  /**
   * log π_θ of the chosen answers without the weights of LD-DPO, [B]: what the cross entropy is
   * computed from. Default: chosenLogProbs.
   */
  chosenTokenLogProbs?: ArrayLike<number>;
  /** WPO's weight of each pair, held constant, [B]; default 1 each. */
  pairWeights?: ArrayLike<number>;
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
  /** Weight of the cross entropy in cpo and simpo; default 1. */
  cpoAlpha?: number;
  /** Margin of simpo and alphapo; default 0.5. */
  simpoGamma?: number;
  /** α of AlphaPO's reward, in every loss without a reference but orpo; default 0: log p. */
  alpha?: number;
  /** `token` (TRL, default): ipo divides scores by completion length; `none`: it does not. */
  ipoNormalization?: "token" | "none";
  /** Size of the whole accumulated batch; default: this batch is all of it. */
  wholeBatch?: {
    /** Pairs: what the sum of pair losses is divided by. */
    pairs: number;
    /** Tokens of all chosen answers: what the cross entropy is divided by. */
    chosenTokens?: number;
  };
}

/**
 * The settings of a loss, with their defaults.
 *
 * @throws {RangeError} if one is outside what its loss can use
 */
export function readSettings(options: DPOLossOptions): DPOPairSettings & ReferenceFreeSettings {
  const settings = {
    beta: options.beta ?? 0.1,
    labelSmoothing: options.labelSmoothing ?? 0,
    discopopTau: options.discopopTau ?? 0.05,
    ipoPerToken: options.ipoNormalization !== "none",
    cpoAlpha: options.cpoAlpha ?? 1,
    simpoGamma: options.simpoGamma ?? 0.5,
    alpha: options.alpha ?? 0,
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

/** Whether WPO's weights can multiply a loss: one of pairs, with a reference. */
export const hasPairWeights = (type: DPOLossType): boolean =>
  DPO_PAIR_LOSS_TYPES.some((name) => name === type);

/**
 * The reference's log-probabilities, [B] each; zeros for a loss without a reference.
 *
 * @throws {RangeError} if sizes differ or the reference is missing
 */
export function readReference(
  inputs: DPOLossInputs,
  options: DPOLossOptions,
  B: number,
): { refChosen: ArrayLike<number>; refRejected: ArrayLike<number> } {
  const free = options.referenceFree || needsNoReference(options.lossTypes);
  const zeros = free ? new Float64Array(B) : undefined;
  const unweighted = options.lossTypes.find((type) => !hasPairWeights(type));
  if (inputs.pairWeights && unweighted) {
    throw new RangeError(
      `Cannot weigh the pairs of the ${unweighted} loss: WPO's weights are for losses of pairs ` +
        "with a reference; set dpo.use_weighting to false",
    );
  }
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

/**
 * Lengths of answers, tokens.
 *
 * @throws {RangeError} if they are missing or not as many as pairs
 */
export function requireLengths(
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
