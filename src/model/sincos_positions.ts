/**
 * Position embeddings of a square grid of patches as sines and cosines.
 *
 * @module
 */

/**
 * Longest wave over shortest. Those of language models, 10,000, hardly change over the few patches
 * of a small picture.
 */
const WAVE_RATIO = 100;

/**
 * Two-dimensional sines and cosines: a quarter of the channels each has sin x, cos x, sin y and
 * cos y, at frequencies from 1 down to 1 / {@linkcode WAVE_RATIO} radians a patch.
 *
 * Source: He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, appendix A.1;
 * Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5.
 *
 * @param positions a square number of patches, or one more: a class token in front, which gets zeros
 * @param channels a multiple of 4
 * @returns [positions, channels]
 * @throws {RangeError} if the patches make no square, or the channels no quarters
 *
 * @example Neighbours in a row differ in the first half of the channels
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { sincosPositions } from "./sincos_positions.ts";
 *
 * const table = sincosPositions(4, 8); // 2 x 2 patches
 * assertEquals(table.slice(4, 8), table.slice(12, 16));
 * ```
 */
export function sincosPositions(positions: number, channels: number): Float32Array {
  const side = Math.floor(Math.sqrt(positions));
  const first = positions - side * side;
  if (channels % 4 !== 0 || side < 1 || first > 1) {
    throw new RangeError(
      `Cannot make sines and cosines of ${positions} positions and ${channels} channels: want a ` +
        "square of patches (and at most a class token) and channels in quarters",
    );
  }
  const table = new Float32Array(positions * channels);
  const quarter = channels / 4;
  for (let patch = 0; patch < side * side; patch++) {
    const row = (patch + first) * channels;
    const places = [patch % side, Math.floor(patch / side)];
    for (let k = 0; k < quarter; k++) {
      const frequency = WAVE_RATIO ** (-k / quarter);
      places.forEach((place, axis) => {
        const at = row + 2 * axis * quarter + k;
        table[at] = Math.sin(place * frequency);
        table[at + quarter] = Math.cos(place * frequency);
      });
    }
  }
  return table;
}
