/**
 * White space as Python defines it: it includes U+001C to U+001F and not U+FEFF; in JavaScript it
 * is the other way round. Rules ported from Python code must give Python's results.
 *
 * @module
 */

/** The white space of Python's `\s` and `str.strip()`, as the inside of a character class. */
export const PYTHON_SPACE = String
  .raw`\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;

const ENDS = new RegExp(`^[${PYTHON_SPACE}]+|[${PYTHON_SPACE}]+$`, "g");

/** `str.strip()`. */
export function strip(text: string): string {
  return text.replace(ENDS, "");
}
