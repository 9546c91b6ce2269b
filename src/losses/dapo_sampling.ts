/**
 * DAPO's two rules beside the loss: which groups are trained on, and the penalty of long answers.
 * Yu et al., "DAPO", arXiv 2503.14476.
 *
 * @module
 */

// G completions of a prompt (a group)

/**
 * Groups whose rewards differ: the others have advantage 0 throughout, and dynamic sampling replaces
 * them (section 3.2, eq. 11).
 *
 * @param rewards summed rewards, groups side by side, [P·G]; NaN = not scored
 * @param numGenerations G
 * @returns indices of the groups with spread, ascending
 */
export function groupsWithSpread(rewards: ArrayLike<number>, numGenerations: number): number[] {
  const groups: number[] = [];
  for (let start = 0; start + numGenerations <= rewards.length; start += numGenerations) {
    let lowest = Infinity, highest = -Infinity;
    for (let i = start; i < start + numGenerations; i++) {
      if (Number.isNaN(rewards[i])) continue;
      lowest = Math.min(lowest, rewards[i]);
      highest = Math.max(highest, rewards[i]);
    }
    if (highest > lowest) groups.push(start / numGenerations);
  }
  return groups;
}

/**
 * Soft overlong punishment (section 3.4, eq. 13): 0 up to `maxLength − bufferLength`, then down in a
 * line to −1 at `maxLength`, −1 beyond; times `factor`.
 *
 * @param length tokens of the completion
 * @param maxLength tokens: `max_completion_length`
 * @param bufferLength tokens: `overlong_buffer_length`
 * @param factor `overlong_penalty_factor`; default 1
 * @throws {RangeError} if the buffer is not from 1 to maxLength tokens
 *
 * @example Half-way into the buffer costs half
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { overlongPunishment } from "./dapo_sampling.ts";
 *
 * assertEquals(overlongPunishment(80, 100, 20), 0);
 * assertEquals(overlongPunishment(90, 100, 20), -0.5);
 * assertEquals(overlongPunishment(101, 100, 20), -1);
 * ```
 */
export function overlongPunishment(
  length: number,
  maxLength: number,
  bufferLength: number,
  factor = 1,
): number {
  if (!(bufferLength >= 1 && bufferLength <= maxLength)) {
    throw new RangeError(
      `Cannot punish overlong completions: the buffer is ${bufferLength} tokens, want 1 to ` +
        `max_completion_length ${maxLength}; correct grpo.overlong_buffer_length`,
    );
  }
  const free = maxLength - bufferLength;
  if (length <= free) return 0;
  return factor * Math.max((free - length) / bufferLength, -1);
}
