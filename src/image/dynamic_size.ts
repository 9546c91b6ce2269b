/**
 * The size to which nanoVLM brings an image before it cuts it into tiles.
 *
 * @module
 */

/**
 * nanoVLM's `DynamicResize._get_new_hw`: both sides a multiple of the tile, the longer one at most
 * `maxSide`, the aspect ratio about kept. The order of floating-point operations is the
 * reference's, whose rounding can push the shorter side one tile beyond `maxSide`.
 *
 * @param width of the image, pixels
 * @param height of the image, pixels
 * @param tileSize side of a tile (`vit_img_size`)
 * @param maxSide `max_img_size`
 * @param toMaxSide `resize_to_max_side_len`: bring the longer side to `maxSide` even if it is shorter
 */
export function dynamicSize(
  width: number,
  height: number,
  tileSize: number,
  maxSide: number,
  toMaxSide: boolean,
): { width: number; height: number } {
  const long = Math.max(width, height), short = Math.min(width, height);
  const newLong = toMaxSide ? maxSide : Math.min(maxSide, Math.ceil(long / tileSize) * tileSize);
  const scale = newLong / long;
  const newShort = Math.max(Math.ceil(short * scale / tileSize) * tileSize, tileSize);
  return width >= height
    ? { width: newLong, height: newShort }
    : { width: newShort, height: newLong };
}
