/**
 * From rewards to advantages: how much better a completion is than the others of its prompt.
 *
 * @module
 */

// P prompts, G completions of each (a group), F reward functions

/** Every value of `grpo.scale_rewards`. */
export const SCALE_REWARDS = ["group", "batch", "none"] as const;

/** A value of `grpo.scale_rewards`. */
export type ScaleRewards = typeof SCALE_REWARDS[number];

/** Every value of `grpo.multi_objective_aggregation`. */
export const REWARD_AGGREGATIONS = ["sum_then_normalize", "normalize_then_sum"] as const;

/** A value of `grpo.multi_objective_aggregation`. */
export type RewardAggregation = typeof REWARD_AGGREGATIONS[number];

/** What advantages are computed from. */
export interface AdvantageInputs {
  /** [P·G][F], the completions of a prompt side by side; NaN or null if a function does not apply. */
  rewards: readonly (readonly (number | null)[])[];
  /** G */
  numGenerations: number;
  /** One weight a function; default 1 each. */
  rewardWeights?: readonly number[] | null;
  /** One name a function, for the metrics; default 0, 1, … */
  rewardNames?: readonly string[];
  /** Default group. */
  scaleRewards?: ScaleRewards;
  /**
   * `sum_then_normalize` (default): weigh and add up the functions, then normalise the sum.
   * `normalize_then_sum`: normalise each function within its group first (GDPO, arXiv 2601.05242).
   */
  aggregation?: RewardAggregation;
}

/** Advantages, what they came from, and what TRL logs. */
export interface Advantages {
  /** [P·G]; 0 if no function scored the completion. */
  advantages: Float64Array;
  /** Weighted sum of each completion's rewards, [P·G]; NaN if no function scored it. */
  rewards: Float64Array;
  /** Mean reward of each completion's group, [P·G]. */
  means: Float64Array;
  /** What `scaleRewards` divides by (of the group for `none`), [P·G]; NaN with one scored reward. */
  standardDeviations: Float64Array;
  /** reward, reward_std, rewards/NAME/mean, rewards/NAME/std, frac_reward_zero_std. */
  metrics: Record<string, number>;
}

/** Added to the standard deviation before dividing, as in TRL. */
const EPSILON = 1e-4;
/** Standard deviations up to this count as zero (torch.isclose). */
const ZERO_DEVIATION = 1e-8;

/**
 * Mean of what is not NaN. It is taken around the first value, so that the mean of equal numbers is
 * that number exactly and a group without spread gets advantages of exactly 0.
 */
function nanMean(values: ArrayLike<number>): number {
  let first = NaN, sum = 0, count = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) continue;
    if (count++ === 0) first = values[i];
    sum += values[i] - first;
  }
  return first + sum / count; // NaN if count is 0
}

/** Standard deviation with n − 1 of what is not NaN; NaN with fewer than two. */
function nanStandardDeviation(values: ArrayLike<number>): number {
  const mean = nanMean(values);
  let sum = 0, count = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) continue;
    sum += (values[i] - mean) ** 2;
    count++;
  }
  return count < 2 ? NaN : Math.sqrt(sum / (count - 1));
}

/**
 * Standard deviation, with n − 1, of each group's rewards, [P].
 *
 * @param rewards summed rewards, groups side by side, [P·G]; NaN = not scored
 * @param numGenerations G
 */
export function groupDeviations(rewards: Float64Array, numGenerations: number): Float64Array {
  return Float64Array.from(
    { length: rewards.length / numGenerations },
    (_, p) => nanStandardDeviation(rewards.subarray(p * numGenerations, (p + 1) * numGenerations)),
  );
}

/**
 * Advantages of a batch of completions.
 *
 * - group: A = (R − mean of its group) / (std of its group + 1e-4); Shao et al., "DeepSeekMath",
 *   arXiv 2402.03300, section 4.1.2.
 * - batch: the same mean, the standard deviation of all rewards; Liu et al., arXiv 2508.08221.
 * - none: A = R − mean of its group; Dr. GRPO, arXiv 2503.20783, section 3.2.
 *
 * A completion that no function scored takes part in no mean and gets advantage 0.
 *
 * @throws {RangeError} if the rewards are not whole groups, or one completion a group is to be
 *   scaled
 *
 * @example One right answer of four
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { computeAdvantages } from "./advantages.ts";
 *
 * const { advantages } = computeAdvantages({
 *   rewards: [[1], [0], [0], [0]], numGenerations: 4, scaleRewards: "none",
 * });
 * assertAlmostEquals(advantages[0], 0.75, 1e-12);
 * assertAlmostEquals(advantages[3], -0.25, 1e-12);
 * ```
 */
export function computeAdvantages(inputs: AdvantageInputs): Advantages {
  const { rewards: rows, numGenerations: G } = inputs;
  const scaleRewards = inputs.scaleRewards ?? "group";
  const N = rows.length, F = rows[0]?.length ?? 0;
  checkInputs(inputs, N, F, scaleRewards);
  const weights = inputs.rewardWeights ?? new Array<number>(F).fill(1);
  const columns = Array.from(
    { length: F },
    (_, f) => Float64Array.from(rows, (row) => row[f] ?? NaN),
  ); // [F][N]
  const rewards = weightedSum(columns, weights, columns, N); // [N]

  const advantages = new Float64Array(N); // [N]
  const means = new Float64Array(N), standardDeviations = new Float64Array(N); // [N]
  for (let start = 0; start < N; start += G) {
    const group = rewards.subarray(start, start + G);
    means.fill(nanMean(group), start, start + G);
    standardDeviations.fill(G > 1 ? nanStandardDeviation(group) : 0, start, start + G);
  }
  if (inputs.aggregation === "normalize_then_sum") {
    const normalised = columns.map((column) => normaliseGroups(column, G));
    const sums = weightedSum(normalised, weights, columns, N);
    const mean = nanMean(sums), deviation = N > 1 ? nanStandardDeviation(sums) : 0;
    standardDeviations.fill(deviation);
    for (let i = 0; i < N; i++) advantages[i] = (sums[i] - mean) / (deviation + EPSILON);
  } else {
    if (scaleRewards === "batch") {
      standardDeviations.fill(N > 1 ? nanStandardDeviation(rewards) : 0);
    }
    for (let i = 0; i < N; i++) {
      const scale = scaleRewards === "none" ? 1 : standardDeviations[i] + EPSILON;
      advantages[i] = (rewards[i] - means[i]) / scale;
    }
  }
  for (let i = 0; i < N; i++) if (Number.isNaN(advantages[i])) advantages[i] = 0;

  const metrics: Record<string, number> = {
    reward: nanMean(rewards),
    reward_std: nanStandardDeviation(rewards),
    frac_reward_zero_std: standardDeviations.filter((std) => Math.abs(std) <= ZERO_DEVIATION)
      .length / Math.max(N, 1),
  };
  columns.forEach((column, f) => {
    const name = inputs.rewardNames?.[f] ?? String(f);
    metrics[`rewards/${name}/mean`] = nanMean(column);
    metrics[`rewards/${name}/std`] = nanStandardDeviation(column);
  });
  return { advantages, rewards, means, standardDeviations, metrics };
}

/** Σ_f weight_f · value_f over the functions that apply; NaN if none of them scored. */
function weightedSum(
  columns: readonly Float64Array[],
  weights: readonly number[],
  scored: readonly Float64Array[],
  N: number,
): Float64Array {
  const sums = new Float64Array(N);
  for (let i = 0; i < N; i++) {
    let applies = false;
    for (let f = 0; f < columns.length; f++) {
      applies ||= !Number.isNaN(scored[f][i]);
      if (!Number.isNaN(columns[f][i])) sums[i] += weights[f] * columns[f][i];
    }
    if (!applies) sums[i] = NaN;
  }
  return sums;
}

/** (r − mean) / (std + 1e-4) within each group of one function's rewards. */
function normaliseGroups(column: Float64Array, G: number): Float64Array {
  const normalised = new Float64Array(column.length);
  for (let start = 0; start < column.length; start += G) {
    const group = column.subarray(start, start + G);
    const mean = nanMean(group), deviation = G > 1 ? nanStandardDeviation(group) : 0;
    for (let i = 0; i < G; i++) normalised[start + i] = (group[i] - mean) / (deviation + EPSILON);
  }
  return normalised;
}

function checkInputs(
  inputs: AdvantageInputs,
  N: number,
  F: number,
  scaleRewards: ScaleRewards,
): void {
  const G = inputs.numGenerations;
  if (!Number.isInteger(G) || G < 1 || N % G !== 0) {
    throw new RangeError(
      `Cannot compute advantages: ${N} completions are not whole groups of ${G}; want a multiple ` +
        "of grpo.num_generations",
    );
  }
  if (G === 1 && scaleRewards !== "batch" && N > 0) {
    throw new RangeError(
      `Cannot compute advantages with num_generations 1 and scale_rewards ${scaleRewards}: a ` +
        "completion is its own group's mean, so that every advantage is 0; want 2 or more",
    );
  }
  const ragged = inputs.rewards.findIndex((row) => row.length !== F);
  if (ragged >= 0) {
    throw new RangeError(
      `Cannot compute advantages: completion ${ragged} has ${
        inputs.rewards[ragged].length
      } rewards, the first has ${F}; want one a function, NaN if it does not apply`,
    );
  }
  const weights = inputs.rewardWeights;
  if (weights && weights.length !== F) {
    throw new RangeError(
      `Cannot compute advantages: got ${weights.length} reward weights for ${F} reward functions; ` +
        "give grpo.reward_weights one number a function, in their order",
    );
  }
}
