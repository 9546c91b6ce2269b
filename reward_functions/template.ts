/**
 * A reward to start from: copy this file, rename the function (its name is its metric,
 * `rewards/NAME/mean`), and try it with `deno task reward check ./my_reward.ts --data rows.jsonl`.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts"; // in your file: "@nanovlm/lab"

/** 1 if the completion contains the row's answer, else 0; null if the row has no answer. */
export function containsAnswer({ completions, answer }: RewardContext): (number | null)[] {
  // Columns of the data set are passed by name, one entry per completion.
  return completions.map((text, i) => {
    const right = (answer as unknown[] | undefined)?.[i];
    if (right === null || right === undefined) return null;
    return text.includes(String(right)) ? 1 : 0;
  });
}
