import { assertEquals, assertThrows } from "@std/assert";
import { defaultExtraTokens } from "../../src/vlm_config.ts";
import {
  ImageGridError,
  imageString,
  tileCount,
  usesGlobalTile,
} from "../../src/text/image_string.ts";
import { byteLevelTokenizer, chatTokenizer } from "./byte_level_tokenizer.ts";

Deno.test("imageString() writes a single tile with only the global token", () => {
  const text = imageString(chatTokenizer(), [[1, 1]], 2);
  assertEquals(text, "<|global_image|><|image|><|image|>");
});

Deno.test("imageString() numbers several images and lists tiles row by row", () => {
  const text = imageString(chatTokenizer(), [[2, 1], [1, 1]], 1);
  assertEquals(
    text,
    "<image: 0><|global_image|><|image|><row_1_col_1><|image|><row_2_col_1><|image|>" +
      "<image: 1><|global_image|><|image|>",
  );
});

Deno.test("imageString() omits the global tile if the tokenizer has no token for it", () => {
  const { global_image_token: _, ...others } = defaultExtraTokens();
  const tokenizer = byteLevelTokenizer().withExtraTokens(others);
  assertEquals(imageString(tokenizer, [[1, 1]], 1), "<row_1_col_1><|image|>");
  assertEquals(usesGlobalTile(tokenizer), false);
  assertEquals(tileCount([2, 2], false), 4);
});

Deno.test("imageString() has as many image tokens as tileCount() says", () => {
  const tokenizer = chatTokenizer();
  for (const grid of [[1, 1], [1, 2], [8, 8], [3, 1]] as const) {
    const tokens = tokenizer.encode(imageString(tokenizer, [grid], 3));
    const count = tokens.filter((id) => id === tokenizer.imageTokenId).length;
    assertEquals(count, 3 * tileCount(grid, true));
  }
});

Deno.test("imageString() refuses grids that the tokenizer has no tokens for", () => {
  assertThrows(
    () => imageString(chatTokenizer(), [[1, 1], [9, 1]], 1),
    ImageGridError,
    "image 1: it has 9 x 1 tiles",
  );
  assertThrows(() => imageString(byteLevelTokenizer(), [[1, 1]], 1), Error, "no image_token");
});
