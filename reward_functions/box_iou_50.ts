/**
 * `builtin:box_iou_50`: 1 if the first box of the text overlaps an accepted one by half.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Source: `src/evaluate/metrics/box_iou.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `box_iou_50` as a reward. */
export const boxIou50: (context: RewardContext) => (number | null)[] = metricReward(
  "box_iou_50",
  import.meta.url,
);
