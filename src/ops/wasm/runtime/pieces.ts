/**
 * Cutting a range into pieces.
 * @module
 */

/**
 * Starts and sizes of the pieces of 0 … length − 1: `step` each, but the last, which may be larger
 * by less than `least` so that none is smaller than that.
 */
export function pieces(length: number, step: number, least = 1): [start: number, size: number][] {
  const result: [number, number][] = [];
  for (let start = 0; start < length;) {
    const rest = length - start;
    const size = rest < step + least ? rest : step;
    result.push([start, size]);
    start += size;
  }
  return result;
}
