/**
 * Python's idea of white space: U+001C to U+001F belong to it and U+FEFF does not, in JavaScript
 * it is the other way round. Rules that come from Python code are held to Python's results.
 *
 * @module
 */

/** What Python's `\s` and `str.strip()` take for a space, as the inside of a character class. */
export const PYTHON_SPACE = String
  .raw`\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;

const ENDS = new RegExp(`^[${PYTHON_SPACE}]+|[${PYTHON_SPACE}]+$`, "g");

/** `str.strip()`. */
export function strip(text: string): string {
  return text.replace(ENDS, "");
}
