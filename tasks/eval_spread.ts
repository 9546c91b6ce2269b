/**
 * What `eval --samples` prints beside the mean rewards.
 *
 * @module
 */
import type { RewardSpread } from "../src/evaluate/reward_spread.ts";
import { formatTable } from "../src/report/terminal/console_table.ts";

/** What `--json` says of several answers a prompt. */
export function spreadRecord(
  { samples, rewardStd, withoutSpread, passAt }: RewardSpread,
): Record<string, unknown> {
  return {
    samples,
    reward_std: rewardStd,
    frac_reward_zero_std: withoutSpread,
    ...(passAt.size === 0 ? {} : {
      pass_at: Object.fromEntries(
        [...passAt].map(([name, byCount]) => [name, Object.fromEntries(byCount)]),
      ),
    }),
  };
}

/** Spread, and a row for each function whose scores are 0 or 1. */
export function spreadTable(
  { samples, rewardStd, withoutSpread, passAt }: RewardSpread,
): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const spread = formatTable([{ header: `${samples} answers a prompt` }, {
    header: "",
    align: "right",
  }], [
    ["standard deviation of a prompt's rewards, mean", rewardStd.toFixed(4)],
    ["prompts whose answers all earn the same", percent(withoutSpread)],
  ]);
  if (passAt.size === 0) return `\n${spread}`;
  const counts = [...passAt.values()][0].keys();
  const passes = formatTable(
    [
      { header: "reward is 1" },
      ...Array.from(counts, (k) => ({ header: `pass@${k}`, align: "right" as const })),
    ],
    [...passAt].map(([name, byCount]) => [name, ...[...byCount.values()].map(percent)]),
  );
  return `\n${spread}\n${passes}`;
}
