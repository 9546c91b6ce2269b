/**
 * `builtin:choice`: 1 if the letter that the text chooses is the accepted one.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Options: `?choices=A,B,C`; A to D by default.
 *
 * Source: `src/evaluate/metrics/choice.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `choice` as a reward. */
export const choice: (context: RewardContext) => (number | null)[] = metricReward(
  "choice",
  import.meta.url,
);
