/**
 * The GRPO family: the loss of a batch of completions from their tokens' log-probabilities, with the
 * gradient that the model's backward pass starts from.
 *
 * One path for all: importance ratio (`importance_ratio.ts`: per token, or per sequence in GSPO) →
 * surrogate (`policy_surrogate.ts`) → tokens left out (`token_selection.ts`) → + β·KL (`kl.ts`) →
 * divisor. `grpo_losses.ts` says which surrogate and which divisor a loss type has.
 *
 * @module
 */
import { GRPOMetrics } from "./grpo_metrics.ts";
import { GRPO_LOSS_TYPES, grpoLosses, type GRPOLossType, type WholeBatch } from "./grpo_losses.ts";
import {
  addImportanceGradient,
  type ImportanceSamplingLevel,
  logImportanceRatios,
} from "./importance_ratio.ts";
import { k3Divergence } from "./kl.ts";
import type { SurrogateSettings } from "./policy_surrogate.ts";
import { highEntropyThreshold, keepsOffPolicySequence } from "./token_selection.ts";
import { DEFAULT_VESPO, type VespoSettings, vespoWeight } from "./vespo.ts";

// N sequences, T tokens; every [N, T] is row-major

/** What the loss is computed from. Entries where the mask is 0 may hold anything. */
export interface GRPOLossInputs {
  /** log π_θ of each completion token, [N, T]. */
  logProbs: ArrayLike<number>;
  /** log π_old, [N, T]; null: the policy has not moved since it sampled, every ratio is 1. */
  oldLogProbs?: ArrayLike<number> | null;
  /** log π_ref, [N, T]; needed if beta is not 0. */
  refLogProbs?: ArrayLike<number> | null;
  /** 1 for completion tokens that count, [N, T]. */
  completionMask: ArrayLike<number>;
  /** [N] */
  advantages: ArrayLike<number>;
  /** One advantage a token, [N, T]; default: that of its sequence. */
  tokenAdvantages?: ArrayLike<number> | null;
  /** Entropy of each token's distribution in nats, [N, T]; for metrics and topEntropyQuantile. */
  entropies?: ArrayLike<number> | null;
}

/** The `grpo` section of a config, as the loss needs it. */
export interface GRPOLossOptions {
  lossType: GRPOLossType;
  /** Default token. */
  importanceSamplingLevel?: ImportanceSamplingLevel;
  /** Default 0.2. */
  epsilon?: number;
  /** Default: epsilon. */
  epsilonHigh?: number | null;
  /** Default null: off. */
  delta?: number | null;
  /** Weight of the KL penalty; default 0. */
  beta?: number;
  /** Multiply the KL estimate by the importance ratio (DeepSeek-V3.2, arXiv 2512.02556, eq. 7). */
  useBiasCorrectionKl?: boolean;
  /** Needed by sapo. */
  sapoTemperaturePos?: number | null;
  /** Needed by sapo. */
  sapoTemperatureNeg?: number | null;
  /** Needed by vespo; default TRL's. */
  vespo?: VespoSettings;
  /** Tokens; needed by dr_grpo. */
  maxCompletionLength?: number;
  /** Share of tokens, those of the highest entropy, that get a policy gradient; default 1: all. */
  topEntropyQuantile?: number;
  /** The whole batch's {@link highEntropyThreshold}; default: this batch's own. */
  entropyThreshold?: number;
  /** Default null: off. */
  offPolicyMaskThreshold?: number | null;
  /** Sizes of the whole accumulated batch; default: this batch is all of it. */
  wholeBatch?: WholeBatch;
  /**
   * Only for luspo, and only to replay TRL: its mean runs over padding too (whatever the model computes
   * there) if the loss is per token. Default false.
   */
  luspoCountsPadding?: boolean;
}

/** The loss, its gradient, and what TRL logs. */
export interface GRPOLossResult {
  loss: number;
  /** d loss / d logProbs, [N, T]; written, not added; 0 if the mask is. */
  gradLogProbs: Float64Array;
  /** kl, entropy, clip_ratio/…, cispo_clip_ratio, vespo/phi_seq_mean, as far as they apply. */
  metrics: Record<string, number>;
}

/**
 * Loss, gradient and metrics of a batch of completions.
 *
 * @throws {RangeError} if sizes differ or a setting that the loss type needs is missing
 *
 * @example The first step after sampling: every ratio is 1, the gradient is −A over tokens
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { grpoLoss } from "./grpo.ts";
 *
 * const { gradLogProbs } = grpoLoss({
 *   logProbs: [-1, -2, -3, -4],
 *   completionMask: [1, 1, 1, 0],
 *   advantages: [1, -1],
 * }, { lossType: "dapo" });
 * assertEquals([...gradLogProbs], [-1 / 3, -1 / 3, 1 / 3, 0]);
 * ```
 */
export function grpoLoss(inputs: GRPOLossInputs, options: GRPOLossOptions): GRPOLossResult {
  const { lossType } = options;
  const level = grpoLosses[lossType]?.level ?? options.importanceSamplingLevel ?? "token";
  const beta = options.beta ?? 0;
  const settings = readSettings(options);
  const { surrogate, divisor, clipSides, logs } = grpoLosses[lossType];
  const N = inputs.advantages.length;
  const T = checkSizes(inputs, N, beta);
  const wholeBatch = options.wholeBatch ?? countBatch(inputs.completionMask, N);
  const entropyThreshold = readEntropyThreshold(inputs, options);
  const offPolicyThreshold = options.offPolicyMaskThreshold ?? null;
  const countsPadding = lossType === "luspo" && options.luspoCountsPadding === true;

  const whole = {
    sequences: Math.max(wholeBatch.sequences, 1),
    tokens: Math.max(wholeBatch.tokens, 1),
  };
  const maxCompletionLength = options.maxCompletionLength ?? 0;

  const metrics = new GRPOMetrics(logs, level);
  const gradLogProbs = new Float64Array(N * T); // [N, T]
  const difference = new Float64Array(T), logRatios = new Float64Array(T);
  const byLogRatio = new Float64Array(T), mask = new Float64Array(T);
  let loss = 0;
  for (let i = 0; i < N; i++) {
    const row = i * T, advantage = inputs.advantages[i];
    let length = 0;
    for (let t = 0; t < T; t++) {
      mask[t] = inputs.completionMask[row + t] === 0 ? 0 : 1;
      length += mask[t];
      const counts = mask[t] !== 0 || countsPadding;
      difference[t] = counts && inputs.oldLogProbs
        ? inputs.logProbs[row + t] - inputs.oldLogProbs[row + t]
        : 0;
    }
    logImportanceRatios(level, difference, mask, logRatios);
    byLogRatio.fill(0);
    const keepsSequence = offPolicyThreshold === null ||
      keepsOffPolicySequence(difference, mask, advantage, offPolicyThreshold);
    const phi = lossType === "vespo"
      ? vespoWeight(difference, advantage, options.vespo ?? DEFAULT_VESPO)
      : 0;
    const weight = countsPadding
      ? length / (wholeBatch.sequences * T) // TRL: mean over [N, T] of loss · length
      : 1 / divisor({ length, whole, maxCompletionLength });

    let lowClipped = 0, highClipped = 0;
    for (let t = 0; t < T; t++) {
      if (mask[t] === 0 && !countsPadding) continue;
      const index = row + t, logProb = inputs.logProbs[index];
      const ratio = Math.exp(logRatios[t]);

      const own = inputs.tokenAdvantages?.[index] ?? advantage;

      const token = surrogate({ ratio, advantage: own, logProb, phi }, settings);
      const entropy = inputs.entropies?.[index] ?? 0;
      const keep = keepsSequence &&
        (entropyThreshold === null || (mask[t] !== 0 && entropy >= entropyThreshold));
      let tokenLoss = keep ? token.loss : 0;
      let direct = keep ? token.byLogProb : 0;
      let throughRatio = keep ? token.byLogRatio : 0;

      let divergence = 0;
      if (beta !== 0 && inputs.refLogProbs) {
        const [k3, slope] = k3Divergence(logProb, inputs.refLogProbs[index]);
        const correction = options.useBiasCorrectionKl ? ratio : 1;
        divergence = k3 * correction;
        tokenLoss += beta * divergence;
        direct += beta * slope * correction;
        if (options.useBiasCorrectionKl) throughRatio += beta * divergence;
      }
      loss += weight * tokenLoss;
      gradLogProbs[index] += weight * direct;
      byLogRatio[t] = weight * throughRatio;

      if (mask[t] === 0) continue;
      metrics.addToken(entropy, divergence);
      const [isLow, isHigh] = clipSides(ratio, own, settings);
      lowClipped += isLow ? 1 : 0;
      highClipped += isHigh ? 1 : 0;
    }
    addImportanceGradient(level, byLogRatio, mask, gradLogProbs.subarray(row, row + T));
    if (level !== "token") { // one ratio a sequence, a fully masked one's included
      [lowClipped, highClipped] = clipSides(
        Math.exp(logRatios[0] ?? 0),
        advantage,
        settings,
      ).map(Number);
    }
    metrics.addSequence(length, lowClipped, highClipped, phi);
  }
  return { loss, gradLogProbs, metrics: metrics.finish(!!inputs.entropies, beta !== 0) };
}

/** Sequences and unmasked tokens of one batch; add these up over micro-batches. */
export function countBatch(completionMask: ArrayLike<number>, sequences: number): WholeBatch {
  let tokens = 0;
  for (let i = 0; i < completionMask.length; i++) if (completionMask[i] !== 0) tokens++;
  return { sequences, tokens };
}

function readSettings(options: GRPOLossOptions): SurrogateSettings {
  const { lossType } = options;
  if (!GRPO_LOSS_TYPES.includes(lossType)) {
    throw new RangeError(
      `Cannot compute a GRPO loss: "${lossType}" is not a loss type; want one of ${
        GRPO_LOSS_TYPES.join(", ")
      }; correct grpo.loss_type`,
    );
  }
  for (const { key, option, isMet, want } of grpoLosses[lossType].needs ?? []) {
    if (option === undefined || isMet(options[option])) continue;
    throw new RangeError(
      `Cannot compute the ${lossType} loss: ${key} is ${options[option] ?? "missing"}, want ` +
        `${want}; set grpo.${key}`,
    );
  }
  const epsilonLow = options.epsilon ?? 0.2;
  return {
    epsilonLow,
    epsilonHigh: options.epsilonHigh ?? epsilonLow,
    delta: options.delta ?? null,
    sapoTemperaturePos: options.sapoTemperaturePos ?? NaN,
    sapoTemperatureNeg: options.sapoTemperatureNeg ?? NaN,
  };
}

/** @returns T */
function checkSizes(inputs: GRPOLossInputs, N: number, beta: number): number {
  const size = inputs.logProbs.length;
  const T = N === 0 ? 0 : size / N;
  if (!Number.isInteger(T) || (N === 0 && size !== 0)) {
    throw new RangeError(
      `Cannot compute a GRPO loss: ${size} log-probabilities do not split into ${N} rows; want ` +
        "logProbs [N, T] and advantages [N]",
    );
  }
  if (beta !== 0 && !inputs.refLogProbs) {
    throw new RangeError(
      `Cannot compute a GRPO loss with beta ${beta}: there are no reference log-probabilities; ` +
        "pass refLogProbs [N, T], or set grpo.beta to 0",
    );
  }
  const others: [string, ArrayLike<number> | null | undefined][] = [
    ["oldLogProbs", inputs.oldLogProbs],
    ["refLogProbs", inputs.refLogProbs],
    ["completionMask", inputs.completionMask],
    ["entropies", inputs.entropies],
    ["tokenAdvantages", inputs.tokenAdvantages],
  ];
  for (const [name, values] of others) {
    if (values && values.length !== size) {
      throw new RangeError(
        `Cannot compute a GRPO loss: ${name} has ${values.length} entries, logProbs ${size}; want ` +
          `the same shape [${N}, ${T}]`,
      );
    }
  }
  return T;
}

function readEntropyThreshold(inputs: GRPOLossInputs, options: GRPOLossOptions): number | null {
  if (options.entropyThreshold !== undefined) return options.entropyThreshold;
  const share = options.topEntropyQuantile ?? 1;
  if (share >= 1) return null;
  if (!inputs.entropies) {
    throw new RangeError(
      `Cannot keep the top ${share} of tokens by entropy: there are no entropies; pass them [N, T], ` +
        "or set top_entropy_quantile to 1",
    );
  }
  return highEntropyThreshold(inputs.entropies, inputs.completionMask, share);
}
