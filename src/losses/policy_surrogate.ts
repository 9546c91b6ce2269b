/**
 * How an importance ratio r = π_θ / π_old and an advantage A become the loss of one token.
 * `grpo_losses.ts` says which loss type uses which surrogate.
 *
 * @module
 */
import { sigmoid } from "./log_sigmoid.ts";

/** What a surrogate sees of one token. */
export interface SurrogateToken {
  /** r */
  readonly ratio: number;
  /** A, of the token's sequence. */
  readonly advantage: number;
  /** log π_θ */
  readonly logProb: number;
  /** φ, VESPO's weight of the sequence; 0 for other losses. */
  readonly phi: number;
}

/** The loss of one token. */
export type Surrogate = (token: SurrogateToken, settings: SurrogateSettings) => SurrogateLoss;

/** The numbers that surrogates take from the config. */
export interface SurrogateSettings {
  /** ε below 1. */
  epsilonLow: number;
  /** ε above 1; for cispo the bound of the ratio itself. */
  epsilonHigh: number;
  /** Upper bound of the unclipped ratio (INTELLECT-2's two-sided clipping), or null. */
  delta: number | null;
  sapoTemperaturePos: number;
  sapoTemperatureNeg: number;
}

/** One token's loss, and its derivatives. */
export interface SurrogateLoss {
  loss: number;
  /** d loss / d log r, which flows back through the importance ratio. */
  byLogRatio: number;
  /** d loss / d log π_θ directly. */
  byLogProb: number;
}

/**
 * −min(r·A, clip(r, 1 − ε_low, 1 + ε_high)·A).
 *
 * Schulman et al., "PPO", arXiv 1707.06347, eq. 7; GRPO: Shao et al., arXiv 2402.03300, eq. 3. DAPO
 * (Yu et al., arXiv 2503.14476, eq. 10) sets ε_high above ε_low. With δ the first r is min(r, δ), so
 * that a large ratio with A < 0 cannot blow up (INTELLECT-2, arXiv 2505.07291, section 3.4).
 */
export function clippedSurrogate(
  { ratio, advantage }: SurrogateToken,
  settings: SurrogateSettings,
): SurrogateLoss {
  const { epsilonLow, epsilonHigh, delta } = settings;
  const low = 1 - epsilonLow, high = 1 + epsilonHigh;
  const free = delta === null ? ratio : Math.min(ratio, delta);
  const freeSlope = delta === null || ratio <= delta ? 1 : 0;
  const clipped = Math.min(Math.max(ratio, low), high);
  const clippedSlope = ratio >= low && ratio <= high ? 1 : 0;
  const first = free * advantage, second = clipped * advantage;
  // Where both are equal the subgradient is the mean of the two, as in PyTorch.
  const slope = first < second
    ? freeSlope
    : first > second
    ? clippedSlope
    : (freeSlope + clippedSlope) / 2;
  return {
    loss: -Math.min(first, second),
    byLogRatio: -advantage * slope * ratio,
    byLogProb: 0,
  };
}

/**
 * −min(r, ε_high)·A·log π_θ, the weight held constant: every token keeps its gradient, only its
 * weight is bounded. MiniMax-M1, arXiv 2506.13585, eqs. 4 and 5.
 */
export function cispoSurrogate(
  { ratio, advantage, logProb }: SurrogateToken,
  settings: SurrogateSettings,
): SurrogateLoss {
  const weight = Math.min(ratio, settings.epsilonHigh);
  return { loss: -weight * advantage * logProb, byLogRatio: 0, byLogProb: -weight * advantage };
}

/**
 * −(4/τ)·σ(τ(r − 1))·A, with τ_pos if A > 0 and τ_neg otherwise: a smooth gate in place of the
 * clip. Gao et al., "Soft Adaptive Policy Optimization", arXiv 2511.20347, eq. 6.
 */
export function sapoSurrogate(
  { ratio, advantage }: SurrogateToken,
  settings: SurrogateSettings,
): SurrogateLoss {
  const temperature = advantage > 0 ? settings.sapoTemperaturePos : settings.sapoTemperatureNeg;
  const gate = sigmoid(temperature * (ratio - 1));
  return {
    loss: -gate * 4 / temperature * advantage,
    byLogRatio: -4 * gate * (1 - gate) * advantage * ratio,
    byLogProb: 0,
  };
}

/** −φ·A·log π_θ, the sequence's weight φ held constant (see `vespo.ts`). */
export function vespoSurrogate({ phi, advantage, logProb }: SurrogateToken): SurrogateLoss {
  return { loss: -phi * advantage * logProb, byLogRatio: 0, byLogProb: -phi * advantage };
}
