/**
 * `builtin:contains`: 1 if an accepted answer stands in the text.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Options: `?style=no_spaces`, for formulas.
 *
 * Source: `src/evaluate/metrics/contains.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `contains` as a reward. */
export const contains: (context: RewardContext) => (number | null)[] = metricReward(
  "contains",
  import.meta.url,
);
