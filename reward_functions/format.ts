/**
 * `builtin:format`: 1 where `<think>…</think>` is followed by `<answer>…</answer>` with nothing but
 * white space between, else 0. What stands before and after does not matter.
 *
 * Source: `format_reward` of NanoVLM-Lab's `rlvlm/reward_functions.py`.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { completionText } from "./shared/completion_text.ts";
import { PYTHON_SPACE } from "../src/evaluate/metrics/python_text.ts";

const PATTERN = new RegExp(`<think>.*?</think>[${PYTHON_SPACE}]*<answer>.*?</answer>`, "s");

/** Think tags, then answer tags: 1 or 0. */
export function format({ completions }: RewardContext): number[] {
  return completions.map((completion) => PATTERN.test(completionText(completion)) ? 1 : 0);
}
