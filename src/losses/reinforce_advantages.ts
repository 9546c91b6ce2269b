/**
 * Advantages of RLOO and of REINFORCE++: from the rewards of whole completions, the divergence from
 * the reference taken off as part of the reward.
 *
 * @module
 */

// P prompts, G completions of each (a group), N = P·G, T tokens of a completion

/** Added to the standard deviation before dividing, as in TRL. */
const EPSILON = 1e-4;

const scored = (values: Iterable<number>): number[] =>
  [...values].filter((value) => !Number.isNaN(value));

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** With n − 1. */
function standardDeviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(
    values.reduce((sum, value) => sum + (value - middle) ** 2, 0) /
      (values.length - 1),
  );
}

/** What RLOO's advantages are computed from. */
export interface LeaveOneOutInputs {
  /** Weighted sums of rewards, groups side by side, [N]; NaN = not scored. */
  readonly rewards: ArrayLike<number>;
  /** G */
  readonly numGenerations: number;
  /** Σ_t (log π_old − log π_ref) of each completion, [N]; needed if beta is not 0. */
  readonly divergences?: ArrayLike<number> | null;
  /** Weight of the divergence in the reward; default 0. */
  readonly beta?: number;
  /** Bounds of the rewards, before the divergence is taken off; default null: none. */
  readonly clipRange?: readonly [lowest: number, highest: number] | null;
  /** Whether the advantages of the batch get mean 0 and spread 1; default false. */
  readonly normalize?: boolean;
}

/**
 * RLOO: A_i = R_i − mean of the other completions' R, with R = clip(reward) − β KL.
 *
 * Ahmadian et al., "Back to Basics: Revisiting REINFORCE Style Optimization", arXiv 2402.14740,
 * section 2.4. A completion without a score, or the only one with a score in its group, gets 0.
 *
 * @returns [N]
 * @throws {RangeError} if the rewards are not whole groups of two or more
 *
 * @example The best of three is compared with the mean of the two others
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { leaveOneOutAdvantages } from "./reinforce_advantages.ts";
 *
 * const rewards = [1, 0, 0];
 * assertEquals([...leaveOneOutAdvantages({ rewards, numGenerations: 3 })], [1, -0.5, -0.5]);
 * ```
 */
export function leaveOneOutAdvantages(inputs: LeaveOneOutInputs): Float64Array {
  const { numGenerations: G, divergences, beta = 0, clipRange = null } = inputs;
  checkGroups(inputs.rewards.length, G);
  const rewards = Float64Array.from(inputs.rewards, (reward, i) => {
    const clipped = clipRange === null
      ? reward
      : Math.min(Math.max(reward, clipRange[0]), clipRange[1]);
    return beta === 0 ? clipped : clipped - beta * divergences![i];
  });
  const advantages = new Float64Array(rewards.length);
  for (let start = 0; start < rewards.length; start += G) {
    const group = scored(rewards.subarray(start, start + G));
    const sum = group.reduce((total, reward) => total + reward, 0);
    for (let i = start; i < start + G; i++) {
      advantages[i] = rewards[i] - (sum - rewards[i]) / (group.length - 1); // NaN if alone
    }
  }
  if (inputs.normalize === true) {
    const all = scored(advantages);
    const middle = mean(all), spread = standardDeviation(all) + EPSILON;
    advantages.forEach((value, i) => advantages[i] = (value - middle) / spread);
  }
  return advantages.map((value) => Number.isNaN(value) ? 0 : value);
}

/** What REINFORCE++'s advantages are computed from. */
export interface ReinforcePlusPlusInputs {
  /** Weighted sums of rewards, groups side by side, [N]; NaN = not scored. */
  readonly rewards: ArrayLike<number>;
  /** G */
  readonly numGenerations: number;
  /** Tokens of each completion, [N]. */
  readonly lengths: readonly number[];
  /** log π_old − log π_ref of each token, [N][T]; needed if beta is not 0. */
  readonly divergences?: readonly (readonly number[])[] | null;
  /** Weight of the divergence in the reward of a token; default 0. */
  readonly beta?: number;
  /** Whether the mean of the group is taken off first (REINFORCE++-baseline); default false. */
  readonly baseline?: boolean;
}

/**
 * REINFORCE++: A_t = R − β Σ_{u ≥ t} (log π_old − log π_ref)_u, normalised by mean and standard
 * deviation over all tokens of the batch. Hu et al., arXiv 2501.03262, eqs. 5 to 7; with `baseline`
 * R is the reward less the mean of its group.
 *
 * @returns one advantage a token, [N][T]; 0 for a completion without a score
 * @throws {RangeError} if the rewards are not whole groups
 */
export function reinforcePlusPlusAdvantages(inputs: ReinforcePlusPlusInputs): number[][] {
  const { numGenerations: G, lengths, divergences, beta = 0, baseline = false } = inputs;
  checkGroups(inputs.rewards.length, G, baseline ? 2 : 1);
  const rewards = Float64Array.from(inputs.rewards);
  if (baseline) {
    for (let start = 0; start < rewards.length; start += G) {
      const middle = mean(scored(rewards.subarray(start, start + G)));
      for (let i = start; i < start + G; i++) rewards[i] -= middle;
    }
  }
  const returns = lengths.map((length, i) => {
    const own = new Array<number>(length).fill(rewards[i]);
    if (beta === 0) return own;
    let rest = 0;
    for (let t = length - 1; t >= 0; t--) {
      rest += divergences![i][t];
      own[t] -= beta * rest;
    }
    return own;
  });
  const all = scored(returns.flat());
  const middle = mean(all);
  const variance = mean(all.map((value) => (value - middle) ** 2));
  const spread = Math.sqrt(Math.max(variance, 1e-8));
  return returns.map((own) =>
    own.map((value) => Number.isNaN(value) ? 0 : (value - middle) / spread)
  );
}

function checkGroups(N: number, G: number, least = 2): void {
  if (Number.isInteger(G) && G >= least && N % G === 0) return;
  throw new RangeError(
    `Cannot compute advantages: ${N} completions in groups of ${G}; want whole groups of ${least} ` +
      "or more; correct grpo.num_generations",
  );
}
