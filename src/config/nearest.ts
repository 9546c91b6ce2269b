/**
 * The nearest known name to a misspelt one.
 *
 * @module
 */

/**
 * The number of single-character edits (insert, delete, replace, swap of neighbours) between two
 * strings: the optimal string alignment distance.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(replaced, last[j] + 1, row[j - 1] + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, beforeLast[j - 2] + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length];
}

/**
 * The known name nearest to `name`, or undefined if nothing is near: case and the choice
 * between `-` and `_` cost nothing, and at most 40 % of the name (or two letters) may differ.
 *
 * @example A misspelt key
 * ```ts
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(nearestName("learning-rat", ["max_steps", "learning_rate"]), "learning_rate");
 * ```
 */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const fold = (text: string) => text.toLowerCase().replaceAll("-", "_");
  const folded = fold(name);
  if (folded.length > 200) return undefined;
  let nearest: string | undefined;
  let smallest = Infinity;
  for (const candidate of known) {
    const distance = editDistance(folded, fold(candidate));
    if (distance < smallest) [nearest, smallest] = [candidate, distance];
  }
  return smallest <= Math.max(2, Math.floor(0.4 * folded.length)) ? nearest : undefined;
}
