/**
 * Replays `losses/dpo.json`, `losses/grpo.json` and `losses/advantages.json`: losses, gradients,
 * metrics and advantages from given numbers.
 *
 * @module
 */
import { computeAdvantages, type ScaleRewards } from "../losses/advantages.ts";
import { dpoLoss, type DpoLossType } from "../losses/dpo.ts";
import type { FDivergence } from "../losses/f_divergence.ts";
import { grpoLoss, type GrpoOptions } from "../losses/grpo.ts";
import type { ImportanceSamplingLevel } from "../losses/importance_ratio.ts";
import type { GrpoLossType } from "../losses/policy_surrogate.ts";
import {
  compareNumbers,
  readRecorded,
  type RecordedNumber,
  type Tolerance,
} from "./compare_numbers.ts";
import type { ParityResult } from "./result.ts";

/** Relative 1e-6; the absolute part is for numbers that are zero but for rounding. */
const RECORDED: Tolerance = { relative: 1e-6, absolute: 1e-11 };
/** The seed computes metrics in float32. */
const FLOAT32_METRIC: Tolerance = { relative: 1e-6, absolute: 1e-7 };

type Numbers = RecordedNumber[];
type Matrix = RecordedNumber[][];

async function readJson<T>(directory: string, name: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(`${directory}/${name}`));
}

function flat(matrix: Matrix): Float64Array {
  return Float64Array.from(matrix.flat(), readRecorded);
}

function compareRecord(
  name: string,
  quantity: string,
  actual: Record<string, number>,
  expected: Record<string, RecordedNumber>,
  tolerance: Tolerance,
): ParityResult[] {
  return Object.entries(expected).map(([key, value]) =>
    compareNumbers(
      name,
      `${quantity} ${key}`,
      key in actual ? [actual[key]] : [],
      [readRecorded(value)],
      tolerance,
    )
  );
}

interface DpoCase {
  loss_type?: DpoLossType;
  loss_types?: DpoLossType[];
  loss_weights?: number[] | null;
  beta: number;
  label_smoothing?: number;
  reference_free?: boolean;
  f_divergence_type?: FDivergence;
  f_alpha_divergence_coef?: number;
  discopop_tau?: number;
  loss: number;
  losses?: Numbers;
  chosen_rewards?: Numbers;
  rejected_rewards?: Numbers;
  grad_chosen_logps?: Numbers;
  grad_rejected_logps?: Numbers;
  metrics?: Record<string, RecordedNumber>;
}

interface DpoFile {
  policy_chosen_logps: Numbers;
  policy_rejected_logps: Numbers;
  ref_chosen_logps: Numbers;
  ref_rejected_logps: Numbers;
  chosen_lengths: number[];
  rejected_lengths: number[];
  lab: DpoCase[];
  lab_list_of_losses?: DpoCase;
  trl: DpoCase[];
}

/** Replays `losses/dpo.json`. */
export async function replayDpoCases(directory: string): Promise<ParityResult[]> {
  const file = await readJson<DpoFile>(directory, "losses/dpo.json");
  const inputs = {
    chosenLogProbs: file.policy_chosen_logps.map(readRecorded),
    rejectedLogProbs: file.policy_rejected_logps.map(readRecorded),
    refChosenLogProbs: file.ref_chosen_logps.map(readRecorded),
    refRejectedLogProbs: file.ref_rejected_logps.map(readRecorded),
    chosenLengths: file.chosen_lengths,
    rejectedLengths: file.rejected_lengths,
  };
  const results: ParityResult[] = [];
  const replay = (name: string, recorded: DpoCase, isLab: boolean, hasRewards: boolean) => {
    const lossTypes = recorded.loss_types ?? [recorded.loss_type ?? "sigmoid"];
    const result = dpoLoss(inputs, {
      lossTypes,
      lossWeights: recorded.loss_weights ?? undefined,
      beta: recorded.beta,
      // TRL leaves label smoothing out of every loss but these; the seed has it in sigmoid.
      labelSmoothing: recorded.label_smoothing ?? 0,
      referenceFree: recorded.reference_free ?? false,
      fDivergence: recorded.f_divergence_type,
      alphaDivergenceCoefficient: recorded.f_alpha_divergence_coef,
      discopopTau: recorded.discopop_tau,
      ipoNormalization: isLab ? "none" : "token",
    });
    const compare = (quantity: string, actual: ArrayLike<number>, expected?: Numbers) => {
      if (expected === undefined) return;
      results.push(compareNumbers(name, quantity, actual, expected.map(readRecorded), RECORDED));
    };
    compare("loss", [result.loss], [recorded.loss]);
    if (recorded.losses) compare("losses", result.losses ?? [], recorded.losses);
    compare("gradient chosen", result.gradChosenLogProbs, recorded.grad_chosen_logps);
    compare("gradient rejected", result.gradRejectedLogProbs, recorded.grad_rejected_logps);
    if (hasRewards) {
      compare("chosen rewards", result.chosenRewards, recorded.chosen_rewards);
      compare("rejected rewards", result.rejectedRewards, recorded.rejected_rewards);
    }
    results.push(
      ...compareRecord(name, "metric", result.metrics, recorded.metrics ?? {}, RECORDED),
    );
  };
  const label = (recorded: DpoCase) => {
    const { loss_type, loss_types, beta, label_smoothing, reference_free, f_divergence_type } =
      recorded;
    const settings = { beta, label_smoothing, reference_free, f_divergence_type };
    return `${loss_types?.join("+") ?? loss_type} ${JSON.stringify(settings)}`;
  };
  for (const recorded of file.lab) replay(`dpo/lab ${label(recorded)}`, recorded, true, true);
  for (const recorded of file.trl) replay(`dpo/trl ${label(recorded)}`, recorded, false, true);
  // The seed adds up the rewards of every loss type; ours are the rewards, so only losses compare.
  const list = file.lab_list_of_losses;
  if (list) replay(`dpo/lab list ${label(list)}`, list, true, false);
  return results;
}

interface GrpoSide {
  loss: RecordedNumber;
  grad: Matrix;
  metrics: Record<string, RecordedNumber>;
}

interface GrpoCase {
  loss_type: GrpoLossType;
  importance_sampling_level: ImportanceSamplingLevel;
  epsilon: number;
  epsilon_high: number;
  delta: number | null;
  beta: number;
  sapo_temperature_pos: number;
  sapo_temperature_neg: number;
  max_completion_length: number;
  gradient_accumulation_steps: number;
  old: "given" | "none";
  use_bias_correction_kl?: boolean;
  off_policy_mask_threshold?: number | null;
  top_entropy_quantile?: number;
  lab: GrpoSide | null;
  trl: GrpoSide | null;
}

interface GrpoFile {
  num_items_in_batch: { lab: number; trl: number };
  vespo?: { k_pos: number; lambda_pos: number; k_neg: number; lambda_neg: number };
  per_token_logps: Matrix;
  old_per_token_logps: Matrix;
  ref_per_token_logps: Matrix;
  entropies: Matrix;
  mask: Matrix;
  advantages: Numbers;
  cases: GrpoCase[];
}

/** The seed's names of TRL's metrics. */
const LAB_METRICS: Record<string, string> = {
  "clip_ratio/low": "clip_ratio/low_mean",
  "clip_ratio/high": "clip_ratio/high_mean",
  "clip_ratio/region": "clip_ratio/region_mean",
};

/** Replays `losses/grpo.json`. */
export async function replayGrpoCases(directory: string): Promise<ParityResult[]> {
  const file = await readJson<GrpoFile>(directory, "losses/grpo.json");
  const mask = flat(file.mask);
  const tokens = mask.reduce((sum, value) => sum + value, 0);
  const results: ParityResult[] = [];
  for (const recorded of file.cases) {
    const name = grpoCaseName(recorded);
    for (const sideName of ["lab", "trl"] as const) {
      const side = recorded[sideName];
      if (side === null) continue;
      const steps = recorded.gradient_accumulation_steps;
      const items = file.num_items_in_batch[sideName];
      // bnpo: this micro-batch's tokens, times the accumulation steps. dapo and its like: the items,
      // which the seed divides by the accumulation steps once more.
      const wholeTokens = recorded.loss_type === "bnpo"
        ? Math.max(tokens, 1) * steps
        : Math.max(items, 1) * (sideName === "lab" ? steps : 1);
      const result = grpoLoss({
        logProbs: flat(file.per_token_logps),
        oldLogProbs: recorded.old === "none" ? null : flat(file.old_per_token_logps),
        refLogProbs: flat(file.ref_per_token_logps),
        completionMask: mask,
        advantages: file.advantages.map(readRecorded),
        entropies: flat(file.entropies),
      }, {
        ...grpoCaseOptions(recorded),
        // TRL keeps sapo's temperatures in float32, whatever the inputs are.
        ...(sideName === "trl" && {
          sapoTemperaturePos: Math.fround(recorded.sapo_temperature_pos),
          sapoTemperatureNeg: Math.fround(recorded.sapo_temperature_neg),
        }),
        vespo: file.vespo && {
          kPos: file.vespo.k_pos,
          lambdaPos: file.vespo.lambda_pos,
          kNeg: file.vespo.k_neg,
          lambdaNeg: file.vespo.lambda_neg,
        },
        wholeBatch: { sequences: file.advantages.length * steps, tokens: wholeTokens },
        luspoCountsPadding: recorded.importance_sampling_level === "token" || recorded.beta !== 0,
      });
      const full = `${name} ${sideName}`;
      const tolerance = { ...RECORDED, ofLargest: true };
      results.push(
        compareNumbers(full, "loss", [result.loss], [readRecorded(side.loss)], RECORDED),
        compareNumbers(full, "gradient", result.gradLogProbs, flat(side.grad), tolerance),
      );
      const expected = Object.entries(side.metrics)
        .filter(([key]) => !(sideName === "lab" && key === "kl" && recorded.beta === 0)) // always 0
        .map(([key, value]): [string, RecordedNumber] => [LAB_METRICS[key] ?? key, value]);
      results.push(
        ...compareRecord(
          full,
          "metric",
          result.metrics,
          Object.fromEntries(expected),
          FLOAT32_METRIC,
        ),
      );
    }
  }
  return results;
}

function grpoCaseOptions(recorded: GrpoCase): GrpoOptions {
  return {
    lossType: recorded.loss_type,
    importanceSamplingLevel: recorded.importance_sampling_level,
    epsilon: recorded.epsilon,
    epsilonHigh: recorded.epsilon_high,
    delta: recorded.delta,
    beta: recorded.beta,
    sapoTemperaturePos: recorded.sapo_temperature_pos,
    sapoTemperatureNeg: recorded.sapo_temperature_neg,
    maxCompletionLength: recorded.max_completion_length,
    useBiasCorrectionKl: recorded.use_bias_correction_kl ?? false,
    offPolicyMaskThreshold: recorded.off_policy_mask_threshold ?? null,
    topEntropyQuantile: recorded.top_entropy_quantile ?? 1,
  };
}

function grpoCaseName(recorded: GrpoCase): string {
  const { lab: _lab, trl: _trl, loss_type, ...settings } = recorded;
  return `grpo/${loss_type} ${JSON.stringify(settings)}`;
}

interface AdvantageSide {
  advantages: Numbers;
  std?: Numbers;
  mean?: Numbers | null;
  frac_reward_zero_std?: number;
  metrics?: Record<string, RecordedNumber>;
}

interface AdvantagesFile {
  cases: {
    note: string;
    rewards: Matrix;
    weights: number[];
    num_generations: number;
    lab: Partial<Record<ScaleRewards, AdvantageSide>>;
    trl: Partial<Record<ScaleRewards, AdvantageSide>>;
    trl_normalize_then_sum?: AdvantageSide;
  }[];
}

/** Replays `losses/advantages.json`. */
export async function replayAdvantageCases(directory: string): Promise<ParityResult[]> {
  const file = await readJson<AdvantagesFile>(directory, "losses/advantages.json");
  const results: ParityResult[] = [];
  for (const recorded of file.cases) {
    const rewards = recorded.rewards.map((row) => row.map(readRecorded));
    // The seed gives reward 0 to what no function scored; ours leaves it out, as TRL does.
    const labRewards = rewards.map((row) =>
      row.every(Number.isNaN) ? row.map((_, index) => index === 0 ? 0 : NaN) : row
    );
    const replay = (
      side: AdvantageSide | undefined,
      sideName: "lab" | "trl",
      scaleRewards: ScaleRewards,
      aggregation: "sum_then_normalize" | "normalize_then_sum",
    ) => {
      if (side === undefined) return;
      const name = `advantages/${recorded.note} ${sideName} ${
        aggregation === "sum_then_normalize" ? scaleRewards : aggregation
      }`;
      const result = computeAdvantages({
        rewards: sideName === "lab" ? labRewards : rewards,
        numGenerations: recorded.num_generations,
        rewardWeights: recorded.weights,
        rewardNames: recorded.weights.map((_, index) => `f${index}`),
        scaleRewards,
        aggregation,
      });
      const compare = (quantity: string, actual: ArrayLike<number>, expected?: Numbers | null) => {
        if (expected === undefined || expected === null) return;
        results.push(compareNumbers(name, quantity, actual, expected.map(readRecorded), {
          relative: 1e-6,
          absolute: 1e-9,
        }));
      };
      compare("advantages", result.advantages, side.advantages);
      compare("std", result.standardDeviations, side.std);
      compare("mean", result.means, side.mean);
      if (side.frac_reward_zero_std !== undefined) {
        compare("frac_reward_zero_std", [result.metrics.frac_reward_zero_std], [
          side.frac_reward_zero_std,
        ]);
      }
      // Statistics of a function alone are over what it scored, which the replaced zeros are not.
      const metrics = Object.fromEntries(
        Object.entries(side.metrics ?? {}).filter(([key]) => !key.startsWith("rewards/")),
      );
      results.push(...compareRecord(name, "metric", result.metrics, metrics, RECORDED));
      const functions = Object.fromEntries(
        Object.entries(side.metrics ?? {}).filter(([key]) => key.startsWith("rewards/")),
      );
      const own = computeAdvantages({
        rewards,
        numGenerations: recorded.num_generations,
        rewardWeights: recorded.weights,
        rewardNames: recorded.weights.map((_, index) => `f${index}`),
        scaleRewards,
      });
      results.push(...compareRecord(name, "metric", own.metrics, functions, RECORDED));
    };
    for (const scale of ["group", "batch", "none"] as const) {
      replay(recorded.lab[scale], "lab", scale, "sum_then_normalize");
      replay(recorded.trl[scale], "trl", scale, "sum_then_normalize");
    }
    replay(recorded.trl_normalize_then_sum, "trl", "group", "normalize_then_sum");
  }
  return results;
}

/** Replays every file of `losses/` that needs no model. */
export async function replayLossCases(directory: string): Promise<ParityResult[]> {
  return [
    ...await replayDpoCases(directory),
    ...await replayGrpoCases(directory),
    ...await replayAdvantageCases(directory),
  ];
}
