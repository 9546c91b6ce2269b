/**
 * `builtin:json_validity`: 1 where the answer is JSON, else 0. A fenced block (```json … ```) counts as
 * what stands in it. Where the row has `required_keys` (a list), the answer must be an object and the
 * score is the share of them that it has.
 *
 * @module
 */
import type { RewardContext } from "../src/rewards/types.ts";
import { answerOrAll, column } from "./shared/completion_text.ts";

/** Valid JSON, with the keys that the row asks for: 0 to 1. */
export function jsonValidity(context: RewardContext): number[] {
  const required = column(context, "required_keys");
  return context.completions.map((completion, i) => {
    const text = answerOrAll(completion).trim();
    const inner = /^```(?:json)?\s*\n(.*?)\n?```$/s.exec(text)?.[1] ?? text;
    let value: unknown;
    try {
      value = JSON.parse(inner);
    } catch {
      return 0;
    }
    const keys = required?.[i];
    if (!Array.isArray(keys) || keys.length === 0) return 1;
    if (typeof value !== "object" || value === null || Array.isArray(value)) return 0;
    return keys.filter((key) => Object.hasOwn(value, String(key))).length / keys.length;
  });
}
