/**
 * The losses of DPO and related methods that are computed pair by pair.
 *
 * With x_w and x_l the log ratios log π_θ − log π_ref of the chosen and the rejected answer, s_w and
 * s_l their scores (equal to the log ratios under the reverse KL), δ = s_w − s_l and z = βδ. Every
 * loss below gives its value and its derivatives by scores and log ratios, written out by hand.
 *
 * @module
 */
import { logSigmoid, sigmoid } from "./log_sigmoid.ts";

/** Losses of one pair. */
export const DPO_PAIR_LOSS_TYPES = [
  "sigmoid",
  "hinge",
  "ipo",
  "exo_pair",
  "nca_pair",
  "robust",
  "bco_pair",
  "sppo_hard",
  "apo_zero",
  "apo_down",
  "discopop",
  "sigmoid_norm",
] as const;

/** The name of a loss of one pair. */
export type DPOPairLossType = typeof DPO_PAIR_LOSS_TYPES[number];

/** What a pair loss sees. */
export interface PreferencePair {
  chosenScore: number;
  rejectedScore: number;
  chosenLogRatio: number;
  rejectedLogRatio: number;
  /** Completion tokens, at least 1. */
  chosenLength: number;
  rejectedLength: number;
}

/** The numbers that pair losses take from the config. */
export interface DPOPairSettings {
  beta: number;
  labelSmoothing: number;
  discopopTau: number;
  /** Divide scores by completion length in `ipo`: TRL does, NanoVLM-Lab does not. */
  ipoPerToken: boolean;
}

/** Loss of a pair, and its derivatives (absent = 0). */
export interface PairLoss {
  loss: number;
  byChosenScore?: number;
  byRejectedScore?: number;
  byChosenLogRatio?: number;
  byRejectedLogRatio?: number;
}

type PairLossFunction = (pair: PreferencePair, settings: DPOPairSettings) => PairLoss;

/** A loss of z = β(s_w − s_l) alone. */
function ofMargin(
  formula: (z: number, settings: DPOPairSettings) => [loss: number, byMargin: number],
): PairLossFunction {
  return (pair, settings) => {
    const { beta } = settings;
    const [loss, slope] = formula(beta * (pair.chosenScore - pair.rejectedScore), settings);
    return { loss, byChosenScore: beta * slope, byRejectedScore: -beta * slope };
  };
}

/** −(1 − ε) log σ(z) − ε log σ(−z), and its derivative by z. */
export function smoothedLogistic(z: number, smoothing: number): [number, number] {
  return [
    -(1 - smoothing) * logSigmoid(z) - smoothing * logSigmoid(-z),
    -(1 - smoothing) * sigmoid(-z) + smoothing * sigmoid(z),
  ];
}

/** The pair losses by name. */
export const dpoPairLosses: Readonly<Record<DPOPairLossType, PairLossFunction>> = {
  // Rafailov et al., "Direct Preference Optimization", arXiv 2305.18290, eq. 7: −log σ(z); with
  // smoothing Mitchell's conservative DPO, ericmitchell.ai/cdpo.pdf.
  sigmoid: ofMargin((z, { labelSmoothing }) => smoothedLogistic(z, labelSmoothing)),

  // Zhao et al., "SLiC-HF", arXiv 2305.10425, as in Liu et al., "RSO", arXiv
  // 2309.06657: max(0, 1 − z).
  hinge: ofMargin((z) => z < 1 ? [1 - z, -1] : [0, 0]),

  // Azar et al., "A General Theoretical Paradigm", arXiv 2310.12036, eq. 17:
  // (s_w/|y_w| − s_l/|y_l| − 1/(2β))²; the division by lengths is what the authors ran.
  ipo: (pair, { beta, ipoPerToken }) => {
    const chosenLength = ipoPerToken ? pair.chosenLength : 1;
    const rejectedLength = ipoPerToken ? pair.rejectedLength : 1;
    const distance = pair.chosenScore / chosenLength - pair.rejectedScore / rejectedLength -
      1 / (2 * beta);
    return {
      loss: distance ** 2,
      byChosenScore: 2 * distance / chosenLength,
      byRejectedScore: -2 * distance / rejectedLength,
    };
  },

  // Ji et al., "EXO", arXiv 2402.00856, eq. 16 for two answers: KL(q ‖ p) with q = (σ(z), σ(−z)) and
  // p = (1 − ε, ε).
  exo_pair: ofMargin((z, { labelSmoothing }) => {
    const qw = sigmoid(z), ql = sigmoid(-z);
    const chosenGap = logSigmoid(z) - Math.log1p(-labelSmoothing);
    const rejectedGap = logSigmoid(-z) - Math.log(labelSmoothing);
    return [qw * chosenGap + ql * rejectedGap, qw * ql * (chosenGap - rejectedGap)];
  }),

  // Chen et al., "Noise Contrastive Alignment", arXiv 2402.05369, with two answers:
  // −log σ(βs_w) − ½ log σ(−βs_w) − ½ log σ(−βs_l).
  nca_pair: (pair, { beta }) => {
    const chosen = beta * pair.chosenScore, rejected = beta * pair.rejectedScore;
    return {
      loss: -logSigmoid(chosen) - 0.5 * logSigmoid(-chosen) - 0.5 * logSigmoid(-rejected),
      byChosenScore: beta * (-sigmoid(-chosen) + 0.5 * sigmoid(chosen)),
      byRejectedScore: beta * 0.5 * sigmoid(rejected),
    };
  },

  // Chowdhury et al., "Provably Robust DPO", arXiv 2403.00409:
  // (−(1 − ε) log σ(z) + ε log σ(−z)) / (1 − 2ε), unbiased if a share ε of the labels is flipped.
  robust: ofMargin((z, { labelSmoothing: flipped }) => [
    (-(1 - flipped) * logSigmoid(z) + flipped * logSigmoid(-z)) / (1 - 2 * flipped),
    (-(1 - flipped) * sigmoid(-z) - flipped * sigmoid(z)) / (1 - 2 * flipped),
  ]),

  // Jung et al., "Binary Classifier Optimization", arXiv 2404.04656, in pairs and with no shift:
  // −log σ(βs_w) − log σ(−βs_l).
  bco_pair: (pair, { beta }) => {
    const chosen = beta * pair.chosenScore, rejected = beta * pair.rejectedScore;
    return {
      loss: -logSigmoid(chosen) - logSigmoid(-rejected),
      byChosenScore: -beta * sigmoid(-chosen),
      byRejectedScore: beta * sigmoid(rejected),
    };
  },

  // Wu et al., "SPPO", arXiv 2405.00675, eq. 4.7 with P = 1 for the winner and 0 for the loser:
  // (s_w − 1/(2β))² + (s_l + 1/(2β))².
  sppo_hard: (pair, { beta }) => {
    const chosen = pair.chosenScore - 0.5 / beta, rejected = pair.rejectedScore + 0.5 / beta;
    return {
      loss: chosen ** 2 + rejected ** 2,
      byChosenScore: 2 * chosen,
      byRejectedScore: 2 * rejected,
    };
  },

  // D'Oosterlinck et al., "Anchored Preference Optimization", arXiv 2408.06266, eq. 7 (both answers
  // are better than the model): 1 − σ(βx_w) + σ(βx_l).
  apo_zero: (pair, { beta }) => {
    const chosen = sigmoid(beta * pair.chosenLogRatio);
    const rejected = sigmoid(beta * pair.rejectedLogRatio);
    return {
      loss: 1 - chosen + rejected,
      byChosenLogRatio: -beta * chosen * (1 - chosen),
      byRejectedLogRatio: beta * rejected * (1 - rejected),
    };
  },

  // The same, eq. 8 (both answers are worse than the model): σ(βx_w) + 1 − σ(z).
  apo_down: (pair, { beta }) => {
    const chosen = sigmoid(beta * pair.chosenLogRatio);
    const margin = sigmoid(beta * (pair.chosenScore - pair.rejectedScore));
    const marginSlope = -beta * margin * (1 - margin);
    return {
      loss: chosen + 1 - margin,
      byChosenLogRatio: beta * chosen * (1 - chosen),
      byChosenScore: marginSlope,
      byRejectedScore: -marginSlope,
    };
  },

  // Lu et al., "Discovering Preference Optimization Algorithms", arXiv 2406.08414, eq. 5, with
  // m = σ(z/τ): −(1 − m) log σ(z) + m e^−z.
  discopop: ofMargin((z, { discopopTau }) => {
    const mix = sigmoid(z / discopopTau);
    const logistic = -logSigmoid(z), exponential = Math.exp(-z);
    return [
      logistic * (1 - mix) + exponential * mix,
      -sigmoid(-z) * (1 - mix) - exponential * mix +
      (exponential - logistic) * mix * (1 - mix) / discopopTau,
    ];
  }),

  // Length-normalised DPO, Lambert et al., "Tülu 3", arXiv 2411.15124, section 5:
  // −log σ(β(s_w/|y_w| − s_l/|y_l|)).
  sigmoid_norm: (pair, { beta }) => {
    const z = beta *
      (pair.chosenScore / pair.chosenLength - pair.rejectedScore / pair.rejectedLength);
    const slope = -beta * sigmoid(-z);
    return {
      loss: -logSigmoid(z),
      byChosenScore: slope / pair.chosenLength,
      byRejectedScore: -slope / pair.rejectedLength,
    };
  },
};
