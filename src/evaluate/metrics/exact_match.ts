/**
 * Exact match: the answer, whatever its outer white space, its case and how its accents are encoded.
 *
 * @module
 */

/** Text as it is compared: composed (NFC), without outer white space, case folded (ß as ss). */
function folded(text: string): string {
  return text.normalize("NFC").trim().toUpperCase().toLowerCase();
}

/**
 * Whether an answer is the expected one, apart from outer white space and case.
 *
 * @example Case and outer white space do not count
 * ```ts
 * import { assert } from "@std/assert";
 * import { isExactMatch } from "./exact_match.ts";
 *
 * assert(isExactMatch(" Red\n", "red"));
 * assert(!isExactMatch("red.", "red"));
 * ```
 */
export function isExactMatch(answer: string, expected: string): boolean {
  return folded(answer) === folded(expected);
}
