/**
 * `builtin:repetition_penalty`: minus the share of n-grams of words that the completion has had
 * before: 0 where none repeats, near −1 where one is said over and over.
 *
 * Options: `builtin:repetition_penalty?n=3&max=1` (n-gram size; largest penalty).
 *
 * Source: the n-gram penalty of Yeo et al., "Demystifying Long Chain-of-Thought Reasoning in LLMs"
 * (2025), section 4.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { completionText } from "./shared/completion_text.ts";

/** Penalty for repeated n-grams: 0 to −max. */
export function repetitionPenalty({ completions }: RewardContext): number[] {
  const options = new URL(import.meta.url).searchParams;
  const n = Math.max(1, Number(options.get("n") ?? 3));
  const max = Number(options.get("max") ?? 1);
  return completions.map((completion) => {
    const words = completionText(completion).toLowerCase().match(/\S+/g) ?? [];
    const total = words.length - n + 1;
    if (total < 1) return 0;
    const distinct = new Set<string>();
    for (let i = 0; i < total; i++) distinct.add(words.slice(i, i + n).join(" "));
    return total === distinct.size ? 0 : -max * (1 - distinct.size / total);
  });
}
