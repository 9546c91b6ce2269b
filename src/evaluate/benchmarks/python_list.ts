/**
 * Lists that a data set holds as Python source: MMMU's options, `['4 %', "can't"]`.
 *
 * @module
 */
const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
  "\n": "",
};

const ITEM = /\s*(?:'((?:[^'\\]|\\[\s\S])*)'|"((?:[^"\\]|\\[\s\S])*)"|([-+\w.]+))\s*(,|$)/y;

/** The text of a string literal's inside. */
function unescaped(inside: string): string {
  return inside.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (whole, two, four, eight, octal, character) => {
      const hex = two ?? four ?? eight;
      if (hex !== undefined) return String.fromCodePoint(parseInt(hex, 16));
      if (octal !== undefined) return String.fromCodePoint(parseInt(octal, 8));
      if (character in ESCAPES) return ESCAPES[character];
      return "\\'\"".includes(character) ? character : whole;
    },
  );
}

/**
 * The texts of a list in Python's notation, as `ast.literal_eval` reads it.
 *
 * @returns null if it is not a list of strings and numbers
 */
export function parsePythonList(source: string): string[] | null {
  const trimmed = source.trim();
  if (!trimmed.startsWith("[") || !trimmed.endsWith("]")) return null;
  const inside = trimmed.slice(1, -1).trim();
  const items: string[] = [];
  ITEM.lastIndex = 0;
  while (ITEM.lastIndex < inside.length) {
    const match = ITEM.exec(inside);
    if (match === null) return null;
    const [, single, double, number] = match;
    items.push(number ?? unescaped(single ?? double));
  }
  return items;
}
