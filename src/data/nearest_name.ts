/** Levenshtein's distance: the fewest insertions, deletions and replacements from one to the other. */
export function editDistance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      row[j] = Math.min(
        previous[j] + 1,
        row[j - 1] + 1,
        previous[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1),
      );
    }
    previous = row;
  }
  return previous[to.length];
}

/**
 * The name most like the one that was meant, or null where none is near.
 *
 * @param wanted what was looked for
 * @param names what there is
 */
export function nearestName(wanted: string, names: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 2)) + 1;
  for (const name of names) {
    const distance = editDistance(wanted.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}
