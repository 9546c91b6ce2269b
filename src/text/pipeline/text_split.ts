/**
 * Splitting text by a pattern, as the Rust library `tokenizers` does (`NormalizedString::split`).
 *
 * @module
 */

/** What happens to the matches: the names that tokenizer.json uses. */
export const SPLIT_BEHAVIORS = [
  "Removed",
  "Isolated",
  "Contiguous",
  "MergedWithPrevious",
  "MergedWithNext",
] as const;

/** One of `SPLIT_BEHAVIORS`. */
export type SplitBehavior = typeof SPLIT_BEHAVIORS[number];

interface Piece {
  text: string;
  isMatch: boolean;
}

/** The text in pieces, matches and what lies between them. */
function pieces(text: string, pattern: RegExp, invert: boolean): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) found.push({ text: text.slice(end, match.index), isMatch: invert });
    if (match[0].length > 0) found.push({ text: match[0], isMatch: !invert });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end), isMatch: invert });
  return found;
}

/** Joins each match that follows a piece that is not a match to that piece. */
function mergeMatches(all: readonly Piece[], join: (piece: string, match: string) => string) {
  const merged: string[] = [];
  let afterMatch = false;
  for (const { text, isMatch } of all) {
    const last = merged.length - 1;
    if (isMatch && !afterMatch && last >= 0) merged[last] = join(merged[last], text);
    else merged.push(text);
    afterMatch = isMatch;
  }
  return merged;
}

/**
 * Splits a text.
 *
 * @param pattern with the flags `g` and `u`
 * @param invert what does not match is the delimiter
 * @returns pieces that are not empty, in order
 */
export function splitText(
  text: string,
  pattern: RegExp,
  behavior: SplitBehavior,
  invert = false,
): string[] {
  const all = pieces(text, pattern, invert);
  switch (behavior) {
    case "Removed":
      return all.filter((piece) => !piece.isMatch).map((piece) => piece.text);
    case "Isolated":
      return all.map((piece) => piece.text);
    case "Contiguous": {
      const runs: Piece[] = [];
      for (const piece of all) {
        const last = runs.at(-1);
        if (last?.isMatch === piece.isMatch) last.text += piece.text;
        else runs.push({ ...piece });
      }
      return runs.map((piece) => piece.text);
    }
    case "MergedWithPrevious":
      return mergeMatches(all, (piece, match) => piece + match);
    case "MergedWithNext":
      return mergeMatches(all.reverse(), (piece, match) => match + piece).reverse();
  }
}
