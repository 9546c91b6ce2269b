import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { initializeWeights } from "../../src/model/initialize.ts";
import { sincosPositions } from "../../src/model/sincos_positions.ts";
import { tinyConfig } from "./tiny_config.ts";

Deno.test("sincosPositions() has sines and cosines of column and row, slower by channel", () => {
  const [channels, quarter] = [16, 4];
  const table = sincosPositions(9, channels); // 3 x 3 patches
  for (const [patch, x, y] of [[0, 0, 0], [1, 1, 0], [5, 2, 1], [8, 2, 2]]) {
    for (let k = 0; k < quarter; k++) {
      const frequency = 100 ** (-k / quarter);
      const wanted = [
        Math.sin(x * frequency),
        Math.cos(x * frequency),
        Math.sin(y * frequency),
        Math.cos(y * frequency),
      ];
      wanted.forEach((value, part) => {
        assertAlmostEquals(table[patch * channels + part * quarter + k], value, 1e-6);
      });
    }
  }
});

Deno.test("sincosPositions() gives a class token zeros, and the patches what they have without it", () => {
  const table = sincosPositions(5, 8);
  assertEquals([...table.slice(0, 8)], new Array(8).fill(0));
  assertEquals(table.slice(8), sincosPositions(4, 8));
});

Deno.test("sincosPositions() refuses a grid that is no square, and channels without quarters", () => {
  assertThrows(() => sincosPositions(7, 8), RangeError, "a square");
  assertThrows(() => sincosPositions(4, 6), RangeError, "quarters");
});

Deno.test("a fresh ViT with sincos differs from normal in its position embeddings alone", () => {
  const normal = new Map(initializeWeights(tinyConfig, 7, { initPositionEmbedding: "normal" }));
  const name = "vision_encoder.patch_embedding.position_embedding";
  for (
    const [key, { data }] of initializeWeights(tinyConfig, 7, { initPositionEmbedding: "sincos" })
  ) {
    const { shape, data: other } = normal.get(key)!;
    if (key === name) assertEquals(data, sincosPositions(shape[1], shape[2]));
    else assertEquals(data, other, key);
  }
});
