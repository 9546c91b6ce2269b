/**
 * `builtin:vqa_accuracy`: the share of three people whose answer it is.
 * The row's accepted answers are the column `answers` (a list), `answer` or `solution`.
 *
 * Options: `?style=textvqa`; vqav2 by default.
 *
 * Source: `src/evaluate/metrics/vqa_accuracy.ts`, with lmms-eval's values.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { metricReward } from "./shared/metric_reward.ts";

/** The metric `vqa_accuracy` as a reward. */
export const vqaAccuracy: (context: RewardContext) => (number | null)[] = metricReward(
  "vqa_accuracy",
  import.meta.url,
);
