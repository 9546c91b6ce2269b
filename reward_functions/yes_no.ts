/**
 * `builtin:yes_no`: 1 if the text is the accepted yes or no.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Source: `src/evaluate/metrics/yes_no.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `yes_no` as a reward. */
export const yesNo: (context: RewardContext) => (number | null)[] = metricReward(
  "yes_no",
  import.meta.url,
);
