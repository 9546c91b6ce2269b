/**
 * Python's rules for text, for metrics whose values must equal those of a Python program.
 *
 * Python and JavaScript differ on white space (U+001C to U+001F and U+0085 are white space in Python,
 * U+FEFF is not) and on numbers (`float()` reads `1_000`, `nan` and `+inf`, and no hexadecimal).
 *
 * @module
 */

/** The white space of `str.strip()`, `str.split()` and `\s`, for the inside of a character class. */
export const PYTHON_SPACE = String
  .raw`\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;

const ENDS = new RegExp(`^[${PYTHON_SPACE}]+|[${PYTHON_SPACE}]+$`, "g");
const SPACES = new RegExp(`[${PYTHON_SPACE}]+`);
const DIGITS = String.raw`[0-9](?:_?[0-9])*`;
const FLOAT = new RegExp(
  `^[+-]?(?:(?:${DIGITS}\\.?(?:${DIGITS})?|\\.${DIGITS})(?:e[+-]?${DIGITS})?|inf(?:inity)?|nan)$`,
  "i",
);

/** `text.strip()`. */
export function strip(text: string): string {
  return text.replace(ENDS, "");
}

/** `text.strip(character)` of one character. */
export function stripCharacter(text: string, character: string): string {
  let from = 0, to = text.length;
  while (from < to && text[from] === character) from++;
  while (to > from && text[to - 1] === character) to--;
  return text.slice(from, to);
}

/** `text.split()`: the words between white space. */
export function splitWords(text: string): string[] {
  return text.split(SPACES).filter((word) => word !== "");
}

/** `float(text)`, or null if Python raises a ValueError. Digits of other scripts are read as well. */
export function parseFloatAsPython(text: string): number | null {
  const digits = strip(text).replace(/\p{Nd}/gu, (digit) => String(decimalValue(digit)));
  if (!FLOAT.test(digits)) return null;
  const plain = digits.replaceAll("_", "").toLowerCase();
  const magnitude = plain.replace(/^[+-]/, "");
  const sign = plain.startsWith("-") ? -1 : 1;
  if (magnitude === "nan") return NaN;
  return sign * (magnitude.startsWith("inf") ? Infinity : Number(magnitude));
}

/** Value of a decimal digit: Unicode keeps the ten digits of a script together, from zero up. */
function decimalValue(digit: string): number {
  const code = digit.codePointAt(0)!;
  let zero = code;
  while (code - zero < 9 && /^\p{Nd}$/u.test(String.fromCodePoint(zero - 1))) zero--;
  return (code - zero) % 10;
}

/** `character.isalpha()` of one character. */
export function isAlphabetic(character: string): boolean {
  return /^\p{L}$/u.test(character);
}
