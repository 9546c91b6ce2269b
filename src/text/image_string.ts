/**
 * The text that stands for images in a prompt: nanoVLM's `get_image_string`.
 *
 * @module
 */
import type { Tokenizer } from "./tokenizer.ts";

/** Rows and columns of tiles that an image was split into. */
export type TileGrid = readonly [rows: number, columns: number];

/** An image was split into more rows or columns than there are tokens for: the row is to be skipped. */
export class ImageGridError extends Error {
  override name = "ImageGridError";
}

/** True where the tokenizer has a token for the global tile; without it there is no such tile. */
export function usesGlobalTile(tokenizer: Tokenizer): boolean {
  return tokenizer.roleToken("global_image_token") !== null;
}

/**
 * How many tiles an image gives: its grid, and the global tile before it where there is more than
 * one tile and the tokenizer has a token for it.
 */
export function tileCount(grid: TileGrid, withGlobalTile: boolean): number {
  const tiles = grid[0] * grid[1];
  return tiles > 1 && withGlobalTile ? tiles + 1 : tiles;
}

/**
 * The text that stands for the images of one prompt: each tile is its row/column token (or the
 * global-image token) and `mpImageTokenLength` image tokens; several images are told apart by
 * `<image: 0>`, `<image: 1>`, …
 *
 * @param tokenizer with the extra tokens
 * @param grids one an image
 * @param mpImageTokenLength image tokens a tile
 * @throws {ImageGridError} where a grid has more rows or columns than the tokenizer has tokens for
 */
export function imageString(
  tokenizer: Tokenizer,
  grids: readonly TileGrid[],
  mpImageTokenLength: number,
): string {
  const imageToken = tokenizer.roleToken("image_token");
  if (imageToken === null) {
    throw new Error(
      "Cannot put an image into a prompt: the tokenizer has no image_token; " +
        "call withExtraTokens() with the config's vlm_extra_tokens",
    );
  }
  const globalToken = tokenizer.roleToken("global_image_token");
  const patches = imageToken.repeat(mpImageTokenLength);
  let text = "";
  grids.forEach(([rows, columns], index) => {
    if (grids.length > 1) text += `<image: ${index}>`;
    if (globalToken !== null) {
      text += globalToken + patches;
      if (rows === 1 && columns === 1) return;
    }
    for (let row = 1; row <= rows; row++) {
      for (let column = 1; column <= columns; column++) {
        const tile = tokenizer.roleToken(`r${row}c${column}`);
        if (tile === null) {
          throw new ImageGridError(
            `Cannot write a prompt for image ${index}: it has ${rows} x ${columns} tiles and the ` +
              `tokenizer no token for row ${row}, column ${column}; lower max_img_size or leave ` +
              `the image out`,
          );
        }
        text += tile + patches;
      }
    }
  });
  return text;
}
