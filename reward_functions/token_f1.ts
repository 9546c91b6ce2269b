/**
 * `builtin:token_f1`: F1 of the words that text and accepted answer share.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Source: `src/evaluate/metrics/token_f1.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `token_f1` as a reward. */
export const tokenF1: (context: RewardContext) => (number | null)[] = metricReward(
  "token_f1",
  import.meta.url,
);
