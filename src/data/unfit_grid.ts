/**
 * Pictures that were decoded, but whose tiles the tokenizer has no tokens for.
 *
 * @module
 */
import { ImageGridError } from "../text/image_string.ts";
import { RowSkipped } from "./data_error.ts";

/**
 * What `build` gives.
 *
 * @param build writes a row's image tokens
 * @throws {RowSkipped} if a picture has too many tiles
 */
export function skippingUnfitGrids<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof ImageGridError)) throw error;
    throw new RowSkipped(error.message, "", { cause: error });
  }
}
