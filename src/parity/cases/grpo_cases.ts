/**
 * Replays `losses/grpo.json`: losses, gradients and metrics from given log-probabilities.
 *
 * @module
 */
import { grpoLoss, type GRPOLossOptions } from "../../losses/grpo.ts";
import type { ImportanceSamplingLevel } from "../../losses/importance_ratio.ts";
import type { GRPOLossType } from "../../losses/grpo_losses.ts";
import { compareNumbers, readRecorded, type RecordedNumber } from "../compare_numbers.ts";
import {
  compareRecord,
  flat,
  FLOAT32_METRIC,
  type Matrix,
  type Numbers,
  readJson,
  RECORDED,
} from "../recorded_numbers.ts";
import type { ParityResult } from "../result.ts";

interface GrpoSide {
  loss: RecordedNumber;
  grad: Matrix;
  metrics: Record<string, RecordedNumber>;
}

interface GrpoCase {
  loss_type: GRPOLossType;
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

/** NanoVLM-Lab's names of TRL's metrics. */
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
      // bnpo: this micro-batch's tokens, times the accumulation steps. dapo and its like: the
      // items,
      // which NanoVLM-Lab divides by the accumulation steps once more.
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
        // TRL's mean over [N, T]; with one loss a sequence it is a mean over [N].
        luspoCountsPadding: recorded.importance_sampling_level === "token" ||
          recorded.beta !== 0 || (recorded.top_entropy_quantile ?? 1) < 1,
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

function grpoCaseOptions(recorded: GrpoCase): GRPOLossOptions {
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
