/**
 * Kahneman-Tversky optimization: the loss of answers that are good or bad, with no pairs; and its
 * gradient by the log-probabilities of whole answers.
 *
 * @module
 */
import { sigmoid } from "./log_sigmoid.ts";

// N answers

/** Values of `dpo.loss_type` that take unpaired answers. */
export const KTO_LOSS_TYPES = ["kto", "apo_zero_unpaired"] as const;

/** A value of `dpo.loss_type` for unpaired answers. */
export type KTOLossType = typeof KTO_LOSS_TYPES[number];

/** Whether a loss takes unpaired answers. */
export function isKTOLoss(type: string): type is KTOLossType {
  return KTO_LOSS_TYPES.some((name) => name === type);
}

/** What the loss is computed from. */
export interface KTOLossInputs {
  /** log π_θ of the answers, summed over their tokens, [N]. */
  readonly logProbs: ArrayLike<number>;
  /** log π_ref of them, [N]. */
  readonly refLogProbs: ArrayLike<number>;
  /** Whether each answer is a good one, [N]. */
  readonly desirable: readonly boolean[];
  /**
   * Estimate of the divergence from the reference, in nats: see {@linkcode mismatchedDivergence}; 0
   * for apo_zero_unpaired. Held constant.
   */
  readonly divergence: number;
}

/** How the loss weighs. */
export interface KTOLossOptions {
  readonly lossType: KTOLossType;
  readonly beta: number;
  /** Weight of good answers. */
  readonly desirableWeight: number;
  /** Weight of bad answers. */
  readonly undesirableWeight: number;
  /** Answers of the whole accumulated batch: what the sum is divided by; default N. */
  readonly answers?: number;
}

/** The loss, its gradient, and what TRL logs. */
export interface KTOLossResult {
  readonly loss: number;
  /** d loss / d logProbs, [N]; written, not added. */
  readonly gradLogProbs: Float64Array;
  /** kl, and of the good (chosen) and bad (rejected) answers that there are: rewards, logps. */
  readonly metrics: Record<string, number>;
}

/**
 * The divergence of the policy from the reference, from answers to other prompts: the mean of
 * log π_θ(y'|x) − log π_ref(y'|x), at least 0. Ethayarajh et al., "KTO", arXiv 2402.01306, section
 * 4.1.
 *
 * @param logProbs of prompts with the answers of others, under the policy, [N]
 * @param refLogProbs the same under the reference, [N]
 */
export function mismatchedDivergence(
  logProbs: ArrayLike<number>,
  refLogProbs: ArrayLike<number>,
): number {
  let sum = 0;
  for (let i = 0; i < logProbs.length; i++) sum += logProbs[i] - refLogProbs[i];
  return Math.max(sum / Math.max(logProbs.length, 1), 0);
}

/**
 * Loss, gradient and metrics of a batch of answers.
 *
 * - kto: λ_D (1 − σ(β(r − z))) of a good answer, λ_U (1 − σ(β(z − r))) of a bad one, with
 *   r = log π_θ − log π_ref and z the divergence; Ethayarajh et al., arXiv 2402.01306, eq. 8.
 * - apo_zero_unpaired: λ_D (1 − σ(βr)) and λ_U σ(βr); D'Oosterlinck et al., arXiv 2408.06266, eq. 7
 *   for single answers.
 *
 * @throws {RangeError} if sizes differ
 *
 * @example A model that equals its reference is pushed towards the good answer
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ktoLoss } from "./kto.ts";
 *
 * const { loss, gradLogProbs } = ktoLoss(
 *   { logProbs: [-3, -4], refLogProbs: [-3, -4], desirable: [true, false], divergence: 0 },
 *   { lossType: "kto", beta: 0.1, desirableWeight: 1, undesirableWeight: 1 },
 * );
 * assertEquals([loss, Math.sign(gradLogProbs[0]), Math.sign(gradLogProbs[1])], [0.5, -1, 1]);
 * ```
 */
export function ktoLoss(inputs: KTOLossInputs, options: KTOLossOptions): KTOLossResult {
  const { logProbs, refLogProbs, desirable } = inputs;
  const { beta, lossType, desirableWeight, undesirableWeight } = options;
  const N = desirable.length;
  if (logProbs.length !== N || refLogProbs.length !== N) {
    throw new RangeError(
      `Cannot compute the ${lossType} loss: got ${logProbs.length} log-probabilities, ` +
        `${refLogProbs.length} of the reference and ${N} labels; want as many of each`,
    );
  }
  const answers = Math.max(options.answers ?? N, 1);
  const divergence = lossType === "kto" ? inputs.divergence : 0;
  const gradLogProbs = new Float64Array(N); // [N]
  let loss = 0;
  const groups = {
    chosen: { count: 0, reward: 0, logp: 0 },
    rejected: { count: 0, reward: 0, logp: 0 },
  };
  for (let i = 0; i < N; i++) {
    const ratio = logProbs[i] - refLogProbs[i];
    const side = desirable[i] ? 1 : -1;
    const weight = (desirable[i] ? desirableWeight : undesirableWeight) / answers;
    const value = sigmoid(side * beta * (ratio - divergence));
    loss += weight * (1 - value);
    gradLogProbs[i] = -weight * side * beta * value * (1 - value);
    const group = groups[desirable[i] ? "chosen" : "rejected"];
    group.count++;
    group.reward += beta * ratio;
    group.logp += logProbs[i];
  }
  const metrics: Record<string, number> = lossType === "kto" ? { kl: divergence } : {};
  for (const [name, { count, reward, logp }] of Object.entries(groups)) {
    if (count === 0) continue;
    metrics[`rewards/${name}`] = reward / count;
    metrics[`logps/${name}`] = logp / count;
  }
  if (groups.chosen.count > 0 && groups.rejected.count > 0) {
    metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"];
  }
  return { loss, gradLogProbs, metrics };
}
