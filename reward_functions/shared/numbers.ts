/**
 * The last number that a text states, as people write numbers: with thousands separators, percent
 * signs, units, fractions, powers and words such as "million".
 *
 * Some spellings have two readings: "(10,200)" is a point or ten thousand two hundred, "3,5" is
 * three and a half or a list. All readings are returned; a score takes the best one.
 *
 * @module
 */

/** Vulgar fractions of Unicode. */
const VULGAR: Record<string, string> = {
  "½": "1/2",
  "⅓": "1/3",
  "⅔": "2/3",
  "¼": "1/4",
  "¾": "3/4",
  "⅕": "1/5",
  "⅖": "2/5",
  "⅗": "3/5",
  "⅘": "4/5",
  "⅙": "1/6",
  "⅚": "5/6",
  "⅛": "1/8",
  "⅜": "3/8",
  "⅝": "5/8",
  "⅞": "7/8",
};

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

const SCALES: Record<string, number> = {
  k: 1e3,
  thousand: 1e3,
  million: 1e6,
  mn: 1e6,
  billion: 1e9,
  bn: 1e9,
  trillion: 1e12,
};

/** LaTeX and typographic signs as plain text. */
function plain(text: string): string {
  return text
    .replace(/\\[dt]?frac\{\s*([-+]?[\d.,]+)\s*\}\{\s*([\d.,]+)\s*\}/g, " $1/$2 ")
    .replace(/\{,\}/g, ",").replace(/\\[,;:! ]/g, "").replace(/\\([%$])/g, "$1")
    .replace(/\\(?:times|cdot)/g, "×").replace(/\\pm/g, "±").replace(/\\(?:left|right)\b/g, "")
    .replace(/\^\{\s*([-+−]?\d+)\s*\}/g, "^$1")
    .replace(/([⁺⁻]?)([⁰¹²³⁴-⁹]+)/g, (_, sign: string, digits: string) => {
      const plainDigits = Array.from(digits, (digit) => SUPERSCRIPTS.indexOf(digit)).join("");
      return `^${sign === "⁻" ? "-" : ""}${plainDigits}`;
    })
    .replace(
      /(\d?)\s*([½⅓⅔¼¾⅕-⅞])/g,
      (_, before: string, sign: string) => `${before} ${VULGAR[sign] ?? sign}`,
    )
    .replace(/(?<![\p{L}\p{N}])(?:minus|negative)\s+(?=[\d.])/giu, "-")
    .replace(/[−﹣－]/g, "-").replace(/(?<![\d\s])\s*[–—](?=\d)/g, " -");
}

// Groups of thousands: 1,234,567; Indian 1,00,000; 1.234.567; 10'000; 10_000.
const DIGITS = String
  .raw`\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d{1,3}(?:\.\d{3}){2,}(?!\d)|\d{1,3}(?:['’_\u00a0\u2009\u202f]\d{3})+(?!\d)|\d+`;
const DECIMAL = `(?:(?:${DIGITS})(?:\\.\\d+)?|\\.\\d+)(?:e[-+]?\\d+(?![\\p{L}\\p{N}]))?`;
// A sign counts if it does not join the number to what comes before, as in 40-45 or page-3.
const SIGN = String.raw`(?:(?<![\p{L}\p{N}.)\]%-])[-+]\s?(?=[\d.$€£]))?[$€£]?`;
const NUMBER = new RegExp(
  `${SIGN}(?:(?<whole>\\d+)\\s+(?<mixed>\\d+\\s?/\\s?\\d+)(?![/\\d])` +
    `|(?<top>${DECIMAL})\\s?/\\s?(?<bottom>\\d+(?:\\.\\d+)?)(?![/\\d])` +
    `|(?<hours>\\d{1,2}):(?<minutes>\\d{2})(?::(?<seconds>\\d{2}))?(?!\\d)` +
    `|(?<value>${DECIMAL}))` +
    `(?:\\s?[×x*]\\s?10\\s?\\^\\s?(?<ten>[-+]?\\d+)|\\^(?<power>[-+]?\\d+))?` +
    `(?:\\s?(?<percent>%|percent\\b|per cent\\b|pct\\b)|\\s?(?<scale>thousand|million|billion|trillion|mn|bn)(?![\\p{L}])|(?<kilo>k)(?![\\p{L}\\p{N}]))?`,
  "giu",
);

const NEGATED =
  /(?:\bnot|\bn't|n['’]t|\brather than|\binstead of|\bunlike)\s+(?:about\s+)?[$€£]?$/i;

function decimal(text: string): number {
  const plainDigits = text.replace(/[,'’_\u00a0\u2009\u202f]/g, "");
  return Number(
    /^\d{1,3}(?:\.\d{3}){2,}/.test(plainDigits) ? plainDigits.replaceAll(".", "") : plainDigits,
  );
}

/** Value of one match without its sign, or null. */
function valueOf(groups: Record<string, string | undefined>): number | null {
  const { whole, mixed, top, bottom, hours, minutes, seconds, value, ten, power } = groups;
  let number: number;
  if (mixed !== undefined) {
    const [a, b] = mixed.split("/").map(Number);
    number = Number(whole) + a / b;
  } else if (bottom !== undefined) number = decimal(top!) / Number(bottom);
  else if (hours !== undefined) {
    number = Number(hours) + Number(minutes) / 60 + Number(seconds ?? 0) / 3600;
  } else number = decimal(value!);
  if (ten !== undefined) number *= 10 ** Number(ten);
  if (power !== undefined) number **= Number(power);
  const scale = (groups.scale ?? groups.kilo)?.toLowerCase();
  if (scale !== undefined) number *= SCALES[scale];
  return Number.isFinite(number) ? number : null;
}

/** True for a calendar date, which is not a number. */
export function isDate(text: string): boolean {
  return /^\s*(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}([-/.])\d{1,2}\1\d{2,4})\s*$/.test(text);
}

/**
 * The readings of the last number in a text.
 *
 * Numbers that the text denies ("not 7", "rather than 7"), tolerances after ± and the 2 of m² do
 * not count; the digits of a word ("H2O") count only if there is no other number.
 *
 * @returns readings, the usual one first; empty if there is no number
 */
export function lastNumberReadings(original: string): number[] {
  const text = plain(original);
  let last: { value: number; match: RegExpExecArray } | null = null;
  let inWord: { value: number; match: RegExpExecArray } | null = null;
  for (const match of text.matchAll(NUMBER)) {
    const before = text.slice(0, match.index);
    if (NEGATED.test(before) || /[±^]\s?$/.test(before)) continue;
    const size = valueOf(match.groups ?? {});
    if (size === null) continue;
    const found = { value: /^[^\d.]*-/.test(match[0]) ? -size : size, match };
    if (/[\p{L}_]$/u.test(before)) inWord = found;
    else last = found;
  }
  last ??= inWord;
  if (last === null) return [];
  const { value, match } = last;
  const readings = [value];
  const { percent, value: digits } = match.groups ?? {};
  if (percent !== undefined) readings.unshift(value / 100);
  const from = match.index, to = from + match[0].length;
  // A tuple such as (10,200), and decimals with a comma such as 3,5 or 1.234,56.
  if (
    digits?.includes(",") && /[([]\s*$/.test(text.slice(0, from)) &&
    /^\s*[)\]]/.test(text.slice(to))
  ) {
    readings.push(Number(digits.split(",").at(-1)));
  }
  const comma = /(?<![\d.,])(\d+|\d{1,3}(?:\.\d{3})+),$/.exec(text.slice(0, from));
  if (comma !== null && digits !== undefined && /^\d+$/.test(digits)) {
    const sign = /-\s?$/.test(text.slice(0, comma.index)) ? -1 : 1;
    readings.push(sign * Number(`${comma[1].replaceAll(".", "")}.${digits}`));
  }
  // Thousands with spaces: 10 000.
  const spaced = /(?<![\d.,])\d{1,3}(?: \d{3})*\s$/.exec(text.slice(0, from));
  if (spaced !== null && digits !== undefined && /^\d{3}(?:\.\d+)?$/.test(digits)) {
    readings.push(Number(spaced[0].replaceAll(" ", "") + digits));
  }
  return readings;
}
