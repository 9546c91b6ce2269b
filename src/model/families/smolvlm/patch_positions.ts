/**
 * Which row of the position table each patch takes.
 *
 * Transformers finds a patch's position by dividing its row by the number of rows and looking for
 * the result between the multiples of 1 / rows. Releases 4.55 to 4.57 multiply by 1 − 1e-6 first:
 * every row and column but the first then takes the position of the one before. A model computes as
 * the release that saved it, since its weights may have learned that.
 *
 * Releases before and after give each patch its own position. (In some sizes, 25 patches a side for
 * example, float32 rounding moves single rows there too. It depends on the vector width of the
 * CPU and is not repeated here; the released models have 27 and 32 patches a side and are not
 * affected.)
 *
 * @module
 */

/** Whether a release of Transformers moves positions. */
function movesPositions(version: unknown): boolean {
  const match = typeof version === "string" ? /^4\.(\d+)/.exec(version) : null;
  return match !== null && Number(match[1]) >= 55;
}

/**
 * Positions of the patches of a tile, row by row.
 *
 * @param side patches a side
 * @param version `transformers_version` of config.json
 * @returns null if each patch takes its own row of the table
 */
export function patchPositions(side: number, version: unknown): readonly number[] | null {
  if (!movesPositions(version)) return null;
  const rows = Array.from({ length: side }, (_, i) => Math.max(0, i - 1));
  return rows.flatMap((row) => rows.map((column) => row * side + column));
}
