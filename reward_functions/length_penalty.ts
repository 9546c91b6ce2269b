/**
 * `builtin:length_penalty`: 0 up to a target number of tokens, then falling evenly to −1 at twice the
 * target, where it stays. Without token ids, words are counted.
 *
 * Options: `builtin:length_penalty?target=256` (default: half of the trainer's
 * `max_completion_length`, or 256).
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { completionText } from "./shared/completion_text.ts";

/** Penalty for length: 0 to −1. */
export function lengthPenalty(context: RewardContext): number[] {
  const { completions, completion_ids, trainer_state } = context;
  const most = Number(trainer_state?.max_completion_length) || 512;
  const target = Number(new URL(import.meta.url).searchParams.get("target")) || most / 2;
  return completions.map((completion, i) => {
    const length = completion_ids?.[i]?.length ??
      (completionText(completion).match(/\S+/g)?.length ?? 0);
    const excess = (length - target) / target;
    return excess > 0 ? -Math.min(1, excess) : 0;
  });
}
