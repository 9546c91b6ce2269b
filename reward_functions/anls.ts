/**
 * `builtin:anls`: similarity of characters with the nearest accepted answer, 0 below one half.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Source: `src/evaluate/metrics/anls.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `anls` as a reward. */
export const anls: (context: RewardContext) => (number | null)[] = metricReward(
  "anls",
  import.meta.url,
);
