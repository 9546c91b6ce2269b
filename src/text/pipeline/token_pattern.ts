/**
 * Patterns of tokenizer.json as JavaScript regular expressions.
 *
 * @module
 */
import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { isJsonObject } from "../json_object.ts";

/** A text as a pattern that matches exactly it. */
export function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\\/-]/g, "\\$&");
}

/**
 * The pattern `{"String": …}` or `{"Regex": …}`; the second in the syntax of Oniguruma, which the
 * library `@huggingface/tokenizers` translates.
 *
 * @param part name of the part of tokenizer.json, for the error text
 * @throws {Error} if it has another form or the regular expression cannot be translated
 */
export function tokenPattern(pattern: unknown, part: string): RegExp {
  if (typeof pattern === "string") return new RegExp(escapeRegExp(pattern), "gu");
  if (isJsonObject(pattern) && typeof pattern.String === "string") {
    return new RegExp(escapeRegExp(pattern.String), "gu");
  }
  if (isJsonObject(pattern) && typeof pattern.Regex === "string") {
    try {
      const split = new SplitPreTokenizer({
        type: "Split",
        pattern: { Regex: pattern.Regex },
        invert: false,
        behavior: "Isolated",
      });
      if (split.pattern !== null) return split.pattern;
    } catch (error) {
      throw new Error(
        `Cannot use the regular expression ${pattern.Regex} of the tokenizer's ${part}: ` +
          (error instanceof Error ? error.message : String(error)),
      );
    }
  }
  throw new Error(
    `Cannot use the pattern ${JSON.stringify(pattern)} of the tokenizer's ${part}: ` +
      'wanted {"String": text} or {"Regex": text}',
  );
}
