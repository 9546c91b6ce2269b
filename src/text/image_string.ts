/**
 * The text that represents images in a prompt: nanoVLM's `get_image_string`.
 *
 * @module
 */

/** A tokenizer's special tokens by role. */
export interface RoleTokens {
  /** Text of a special token, or null. */
  roleToken(role: string): string | null;
}

/** Rows and columns of the tiles of an image. */
export type TileGrid = readonly [rows: number, columns: number];

/** An image was split into more rows or columns than there are tokens for: the row must be skipped. */
export class ImageGridError extends Error {
  override name = "ImageGridError";
}

/** True if the tokenizer has a token for the global tile; without it there is no global tile. */
export function usesGlobalTile(tokenizer: RoleTokens): boolean {
  return tokenizer.roleToken("global_image_token") !== null;
}

/**
 * Number of tiles of an image: its grid, and a global tile before it if there is more than one
 * tile and the tokenizer has a token for it.
 */
export function tileCount(grid: TileGrid, withGlobalTile: boolean): number {
  const tiles = grid[0] * grid[1];
  return tiles > 1 && withGlobalTile ? tiles + 1 : tiles;
}

/**
 * The text that represents the images of one prompt: each tile is its row/column token (or the
 * global-image token) and `mpImageTokenLength` image tokens; several images are numbered by
 * `<image: 0>`, `<image: 1>`, …
 *
 * @param tokenizer with the extra tokens
 * @param grids one an image
 * @param mpImageTokenLength image tokens a tile
 * @throws {ImageGridError} if a grid has more rows or columns than the tokenizer has tokens for
 */
export function imageString(
  tokenizer: RoleTokens,
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
