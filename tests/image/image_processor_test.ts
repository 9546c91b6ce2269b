import { CASES, caseTest } from "../data/cases/shared_cases.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ImageDecodeError } from "../../src/image/image_header.ts";
import { ImageProcessor } from "../../src/image/image_processor.ts";
import { defaultVLMConfig } from "../../src/vlm_config.ts";
import { JPEG_RED_BLUE } from "./picture_files.ts";

const options = { maxImgSize: 8, splitImageSize: 4, resizeToMaxSideLen: false };

/** Pixel (x, y) is [x, y, 7]. */
function coordinates(width: number, height: number) {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) data.set([i % width, Math.floor(i / width), 7], 3 * i);
  return { width, height, data };
}

Deno.test("process() cuts tiles row by row, the whole picture before them", async () => {
  const result = await new ImageProcessor(options).process(coordinates(8, 8));
  assertEquals(result.grid, [2, 2]);
  assertEquals(result.tileCount, 5);
  assertEquals(result.tiles.length, 5 * 3 * 16);
  const tile = (index: number, channel: number) =>
    Array.from(
      result.tiles.subarray((index * 3 + channel) * 16, (index * 3 + channel + 1) * 16),
      (value) => Math.round(value * 255 * 100) / 100,
    );
  // the third tile after the global one is the lower left
  assertEquals(tile(3, 0).slice(0, 4), [0, 1, 2, 3]);
  assertEquals(tile(3, 1).slice(0, 5), [4, 4, 4, 4, 5]);
  assert(tile(3, 2).every((value) => value === 7));
  // the global tile averages, pulled inwards at the edges
  assert(tile(0, 0)[0] > 0 && tile(0, 0)[3] < 7);
  assertAlmostEquals(tile(0, 0)[0] + tile(0, 0)[3], 7, 0.01);
});

Deno.test("process() makes one tile of a small picture, k/255 exactly", async () => {
  const image = coordinates(4, 4);
  const { tiles, tileCount, grid } = await new ImageProcessor(options).process(image);
  assertEquals([tileCount, ...grid], [1, 1, 1]);
  assertEquals(tiles[1], Math.fround(1 / 255));
});

Deno.test("process() leaves the global tile out if asked to", async () => {
  const processor = new ImageProcessor({ ...options, globalTile: false });
  const whole = await new ImageProcessor(options).process(coordinates(8, 8));
  const without = await processor.process(coordinates(8, 8));
  assertEquals(without.tileCount, 4);
  assertEquals(without.tiles, whole.tiles.slice(3 * 16));
});

Deno.test("process() normalises if asked to", async () => {
  const normalize = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.25, 0.5] };
  const processor = new ImageProcessor({ ...options, normalize });
  const { tiles } = await processor.process(coordinates(4, 4));
  assertAlmostEquals(tiles[0], -1, 1e-6);
  assertAlmostEquals(tiles[16], -2, 1e-6);
  assertAlmostEquals(tiles[32], 2 * 7 / 255 - 1, 1e-6);
});

Deno.test("process() decodes files, and resize() with toTiles() does the same", async () => {
  const processor = new ImageProcessor(options);
  const result = await processor.process(JPEG_RED_BLUE);
  assertEquals(result.grid, [1, 2]);
  assertEquals(processor.toTiles(await processor.resize(JPEG_RED_BLUE)), result);
  await assertRejects(() => processor.process(new Uint8Array(3)), ImageDecodeError);
});

Deno.test("process() refuses pixels whose bytes do not fit their size", async () => {
  const image = { width: 4, height: 4, data: new Uint8Array(5) };
  await assertRejects(() => new ImageProcessor(options).process(image), RangeError, "want 48");
});

Deno.test("save() and fromPretrained() give the same processor", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const normalize = { mean: [0.1, 0.2, 0.3], std: [1, 2, 3] };
    for (const more of [{}, { normalize, globalTile: false, resizeToMaxSideLen: true }]) {
      const processor = new ImageProcessor({ ...options, ...more });
      await processor.save(dir);
      assertEquals((await ImageProcessor.fromPretrained(dir)).options, processor.options);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("fromPretrained() takes config.json if there is no preprocessor_config.json", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await assertRejects(() => ImageProcessor.fromPretrained(dir), Error, "max_img_size");
    const config = defaultVLMConfig();
    await Deno.writeTextFile(`${dir}/config.json`, JSON.stringify(config));
    const loaded = await ImageProcessor.fromPretrained(dir);
    assertEquals(loaded.options, ImageProcessor.fromConfig(config).options);
    assertEquals(loaded.options.maxImgSize, 2048);
    await Deno.writeTextFile(`${dir}/config.json`, '{"vit_img_size": 32}');
    const sparse = (await ImageProcessor.fromPretrained(dir)).options;
    assertEquals([sparse.maxImgSize, sparse.resizeToMaxSideLen, sparse.splitImageSize], [
      2048,
      true,
      32,
    ]);
    await Deno.writeTextFile(`${dir}/config.json`, "[1]");
    await assertRejects(() => ImageProcessor.fromPretrained(dir), Error, "not a JSON object");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a processor refuses sizes and normalisations that cannot be", () => {
  assertThrows(() => new ImageProcessor({ ...options, splitImageSize: 0 }), RangeError, "split");
  const normalize = { mean: [0, 0, 0], std: [1, 0, 1] };
  assertThrows(() => new ImageProcessor({ ...options, normalize }), RangeError, "no std of 0");
  const odd = new ImageProcessor({ ...options, maxImgSize: 6 });
  assertThrows(() => odd.toTiles(coordinates(6, 4)), RangeError, "multiple of vit_img_size");
});

caseTest("resize_default: what a folder does not say has nanoVLM's default", async () => {
  const folder = `${CASES}resize_default/`;
  const processor = await ImageProcessor.fromPretrained(`${folder}model`);
  const { grid, tileCount } = await processor.process(await Deno.readFile(`${folder}p40.png`));
  assertEquals([grid, tileCount], [[3, 3], 10]);
  const noMax = await ImageProcessor.fromPretrained(`${folder}no_max`);
  assertEquals(noMax.options.maxImgSize, 2048);
});
