/**
 * Pixels.
 *
 * @module
 */

/** An image as bytes: `data` is [height, width, 3], red, green, blue. */
export interface RgbImage {
  width: number;
  height: number;
  data: Uint8Array;
}
