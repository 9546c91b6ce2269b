/**
 * `builtin:soft_overlong`: DAPO's soft overlong punishment. With L tokens, a most of `max` and a
 * cache of `cache`:
 *
 * - 0 where L ≤ max − cache,
 * - ((max − cache) − L) / cache where max − cache < L ≤ max,
 * - −1 where L > max.
 *
 * Options: `builtin:soft_overlong?max=4096&cache=512` (default: the trainer's
 * `max_completion_length`, and a fifth of it).
 *
 * Source: Yu et al., "DAPO: An Open-Source LLM Reinforcement Learning System at Scale" (2025),
 * equation 13.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";

/** Punishment for overlong completions: 0 to −1; null without token ids. */
export function softOverlong(context: RewardContext): (number | null)[] {
  const { completions, completion_ids, trainer_state } = context;
  const options = new URL(import.meta.url).searchParams;
  const max = Number(options.get("max") ?? trainer_state?.max_completion_length ?? 512);
  const cache = Number(options.get("cache") ?? max / 5);
  return completions.map((_, i) => {
    const length = completion_ids?.[i]?.length;
    if (length === undefined) return null;
    if (length <= max - cache) return 0;
    return length <= max ? (max - cache - length) / cache : -1;
  });
}
