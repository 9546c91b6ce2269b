/**
 * Replays `losses/advantages.json`: advantages from given rewards.
 *
 * @module
 */
import { computeAdvantages, type ScaleRewards } from "../../losses/advantages.ts";
import { compareNumbers, readRecorded, type RecordedNumber } from "../compare_numbers.ts";
import {
  compareRecord,
  type Matrix,
  type Numbers,
  readJson,
  RECORDED,
} from "../recorded_numbers.ts";
import type { ParityResult } from "../result.ts";

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
    // NanoVLM-Lab gives reward 0 to what no function scored; ours leaves it out, as TRL does.
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
      // Statistics of one function cover only what it scored, not the replaced zeros.
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
