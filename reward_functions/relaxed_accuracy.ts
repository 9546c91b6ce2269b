/**
 * `builtin:relaxed_accuracy`: 1 if a number is within 5 % of an accepted one, or other text is equal.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Source: `src/evaluate/metrics/relaxed_accuracy.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `relaxed_accuracy` as a reward. */
export const relaxedAccuracy: (context: RewardContext) => (number | null)[] = metricReward(
  "relaxed_accuracy",
  import.meta.url,
);
