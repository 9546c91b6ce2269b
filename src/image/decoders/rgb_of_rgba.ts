/**
 * Pixels without their alpha, which is dropped and not composited, as in Pillow.
 *
 * @param rgba [pixels, 4]
 * @returns [pixels, 3]
 */
export function rgbOfRgba(rgba: Uint8Array | Uint8ClampedArray, pixels: number): Uint8Array {
  const data = new Uint8Array(pixels * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return data;
}
