import { assertEquals } from "@std/assert";
import { ImageProcessor } from "../../src/image/image_processor.ts";
import { decodeImage } from "../../src/image/decode_image.ts";
import { seenTiles } from "../../src/inspect/seen_tiles.ts";
import { SmolVLMImageProcessor } from "../../src/model/families/smolvlm/image_processor.ts";

/** Left half of one colour, right half of another. */
function picture(width: number, height: number) {
  const data = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    data.set(i % width < width / 2 ? [200, 10, 30] : [20, 100, 250], 3 * i);
  }
  return { width, height, data };
}

/** The colour in the middle of a PNG. */
async function middle(url: string): Promise<number[]> {
  const { width, height, data } = await decodeImage(Uint8Array.fromBase64(url.split(",")[1]));
  const at = 3 * (Math.floor(height / 2) * width + Math.floor(width / 2));
  return [...data.slice(at, at + 3)];
}

Deno.test("seenTiles() gives the pixels of nanoVLM's tiles, the whole first, normalised or not", async () => {
  for (const normalize of [undefined, { mean: [0.5, 0.4, 0.3], std: [0.5, 0.25, 0.2] }]) {
    const processor = new ImageProcessor({
      maxImgSize: 32,
      splitImageSize: 16,
      resizeToMaxSideLen: false,
      normalize,
    });
    const seen = seenTiles(await processor.process(picture(32, 16)), processor);
    assertEquals([seen.rows, seen.columns, seen.tiles.length], [1, 2, 2]);
    assertEquals(await Promise.all(seen.tiles.map(middle)), [[200, 10, 30], [20, 100, 250]]);
    assertEquals((await decodeImage(Uint8Array.fromBase64(seen.whole!.split(",")[1]))).width, 16);
  }
});

Deno.test("seenTiles() takes SmolVLM's whole picture from the end", async () => {
  const processor = SmolVLMImageProcessor.fromSettings(
    { size: { longest_edge: 32 }, max_image_size: { longest_edge: 16 } },
    "a test",
    16,
    {},
  );
  const seen = seenTiles(await processor.process(picture(32, 16)), processor);
  assertEquals([seen.rows, seen.columns, seen.tiles.length], [1, 2, 2]);
  assertEquals(await Promise.all(seen.tiles.map(middle)), [[200, 10, 30], [20, 100, 250]]);
});
