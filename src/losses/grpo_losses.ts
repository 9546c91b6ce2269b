/**
 * The losses of the GRPO family in one table: an entry says everything in which a loss differs from
 * the others. The names and checks of the config derive from it. To add a loss, add its name and its
 * entry here, and its paper to docs/papers.md.
 *
 * @module
 */
import type { RatioLevel } from "./importance_ratio.ts";
import {
  cispoSurrogate,
  clippedSurrogate,
  sapoSurrogate,
  type Surrogate,
  type SurrogateSettings,
  vespoSurrogate,
} from "./policy_surrogate.ts";

/** Every value of `grpo.loss_type`; luspo and vespo are TRL's, rloo is TRL's RLOO trainer. */
export const GRPO_LOSS_TYPES = [
  "grpo",
  "bnpo",
  "dr_grpo",
  "dapo",
  "cispo",
  "sapo",
  "luspo",
  "vespo",
  "rloo",
  "reinforce_plus_plus",
  "reinforce_plus_plus_baseline",
] as const;

/** A value of `grpo.loss_type`. */
export type GRPOLossType = typeof GRPO_LOSS_TYPES[number];

/** Size of everything that one optimizer step averages over. */
export interface WholeBatch {
  /** Sequences, fully masked ones included. */
  sequences: number;
  /** Unmasked completion tokens. */
  tokens: number;
}

/** What a divisor may depend on. */
export interface DivisorInputs {
  /** Unmasked tokens of the token's sequence. */
  readonly length: number;
  /** At least one sequence and one token. */
  readonly whole: WholeBatch;
  readonly maxCompletionLength: number;
}

/** A key of the config's section `grpo` that a loss needs. */
export interface NeededSetting {
  readonly key: string;
  /** The option of `grpoLoss()` that holds it; absent if the loss runs without it too. */
  readonly option?: "sapoTemperaturePos" | "sapoTemperatureNeg" | "maxCompletionLength";
  readonly isMet: (value: unknown) => boolean;
  readonly want: string;
}

/** Everything in which a loss differs from the others. */
export interface GRPOLoss {
  /** The loss of a token and its derivatives. */
  readonly surrogate: Surrogate;
  /**
   * What the loss of a token is divided by: 1 / divisor is its factor in the loss of the batch. The
   * sizes are those of the whole accumulated batch, so that the gradients of k micro-batches add up
   * to the gradient of one batch.
   */
  readonly divisor: (inputs: DivisorInputs) => number;
  /** Whether `training.loss_reduction: micro_batch` changes nothing, as in NanoVLM-Lab. */
  readonly dividesOnce?: boolean;
  /** Whether a ratio lies where the clip takes the gradient away: [below, above]. */
  readonly clipSides: (
    ratio: number,
    advantage: number,
    settings: SurrogateSettings,
  ) => readonly [low: boolean, high: boolean];
  /** What is logged of the clipping, by TRL's names: `clip_ratio/…`, one ratio, or phi. */
  readonly logs: "clip_ratio" | "cispo_clip_ratio" | "vespo/phi_seq_mean" | null;
  readonly needs?: readonly NeededSetting[];
  /** Where ratios are taken, if that is not a setting. */
  readonly level?: RatioLevel;
  /** How advantages come from rewards; default: by `scale_rewards`. */
  readonly advantages?: "leave_one_out" | "reinforce_plus_plus" | "reinforce_plus_plus_baseline";
  /** Whether the divergence from the reference is part of the reward instead of the loss. */
  readonly divergenceInReward?: boolean;
}

/** Mean over sequences of means over tokens; Shao et al., arXiv 2402.03300, eq. 3. */
const bySequence = ({ length, whole }: DivisorInputs) => whole.sequences * Math.max(length, 1);
/** Mean over all tokens; Yu et al., "DAPO", arXiv 2503.14476, eq. 12. */
const byToken = ({ whole }: DivisorInputs) => whole.tokens;

/** PPO's clip, with `delta` on the unclipped ratio. */
const clipped: Pick<GRPOLoss, "surrogate" | "clipSides" | "logs"> = {
  surrogate: clippedSurrogate,
  clipSides(ratio, advantage, { epsilonLow, epsilonHigh, delta }) {
    const free = delta === null ? ratio : Math.min(ratio, delta);
    return [
      free < 1 - epsilonLow && advantage < 0,
      free > 1 + epsilonHigh && advantage > 0,
    ];
  },
  logs: "clip_ratio",
};

const temperature = (
  key: string,
  option: NeededSetting["option"],
  paper: string,
): NeededSetting => ({
  key,
  option,
  isMet: (value) => typeof value === "number" && value > 0,
  want: `a number above 0 (the paper: ${paper})`,
});

/** The losses by name. */
export const grpoLosses: Readonly<Record<GRPOLossType, GRPOLoss>> = {
  // Shao et al., "DeepSeekMath", arXiv 2402.03300, eq. 3.
  grpo: { ...clipped, divisor: bySequence },

  // TRL's: the tokens of each micro-batch; over a whole batch it is the same as dapo.
  bnpo: { ...clipped, divisor: byToken },

  // Liu et al., "Dr. GRPO", arXiv 2503.20783, section 3.1: no bias towards a length.
  dr_grpo: {
    ...clipped,
    divisor: ({ whole, maxCompletionLength }) => whole.sequences * maxCompletionLength,
    needs: [{
      key: "max_completion_length",
      option: "maxCompletionLength",
      isMet: (value) => typeof value === "number" && value > 0,
      want: "the number of tokens that it divides by",
    }],
  },

  // Yu et al., "DAPO", arXiv 2503.14476, eq. 12; ε_high above ε_low is a setting.
  dapo: { ...clipped, divisor: byToken, dividesOnce: true },

  // MiniMax-M1, arXiv 2506.13585, eqs. 4 and 5.
  cispo: {
    surrogate: cispoSurrogate,
    divisor: byToken,
    dividesOnce: true,
    clipSides: (ratio, advantage, { epsilonHigh }) => [false, ratio > epsilonHigh && advantage > 0],
    logs: "cispo_clip_ratio",
  },

  // Gao et al., "Soft Adaptive Policy Optimization", arXiv 2511.20347, eq. 6.
  sapo: {
    surrogate: sapoSurrogate,
    divisor: bySequence,
    clipSides: clipped.clipSides,
    logs: null,
    needs: [
      temperature("sapo_temperature_pos", "sapoTemperaturePos", "1.0"),
      temperature("sapo_temperature_neg", "sapoTemperatureNeg", "1.05"),
    ],
  },

  // LUSPO, arXiv 2602.05261: each sequence counts by its length.
  luspo: {
    ...clipped,
    divisor: ({ whole }) => whole.sequences,
    needs: [{
      key: "importance_sampling_level",
      isMet: (value) => value === "sequence",
      want: "sequence",
    }],
  },

  // "VESPO", arXiv 2602.10693, section 3.4; `vespo.ts` has the weight of a sequence.
  vespo: {
    surrogate: vespoSurrogate,
    divisor: byToken,
    dividesOnce: true,
    clipSides: () => [false, false],
    logs: "vespo/phi_seq_mean",
  },

  // Ahmadian et al., "Back to Basics", arXiv 2402.14740, with PPO's clip on the ratio of whole
  // completions, as TRL's RLOO trainer: the mean over sequences.
  rloo: {
    ...clipped,
    divisor: bySequence,
    level: "whole",
    advantages: "leave_one_out",
    divergenceInReward: true,
  },

  // Hu et al., "REINFORCE++", arXiv 2501.03262, eqs. 4 to 7.
  reinforce_plus_plus: {
    ...clipped,
    divisor: byToken,
    dividesOnce: true,
    advantages: "reinforce_plus_plus",
    divergenceInReward: true,
  },

  // The same, section 3.3: the group's mean is taken off, the divergence is part of the loss.
  reinforce_plus_plus_baseline: {
    ...clipped,
    divisor: byToken,
    dividesOnce: true,
    advantages: "reinforce_plus_plus_baseline",
  },
};
