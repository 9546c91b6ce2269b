import { assert, assertEquals, assertRejects } from "@std/assert";
import * as imagescript from "imagescript";
import { decode as decodeWebp } from "@cwasm/webp";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { loadRasterDecoder } from "../../src/web/browser/raster_decoder.ts";
import { loadWebpDecoder } from "../../src/web/browser/webp_decoder.ts";
import { pageFiles } from "../../src/web/page_files.ts";
import { GIF_RED_BLUE, JPEG_RED_BLUE } from "../image/picture_files.ts";
import { fixtureTest } from "../parity/shared_fixtures.ts";

const files = await pageFiles();
const load = (file: string) => WebAssembly.compile(files.get(`wasm/${file}`)!);
const { decode } = await loadRasterDecoder(load);

const [example] = embeddedShapes({ seed: 3 }).test;
/** A grey and a CMYK JPEG of 16 x 8 pixels, by Pillow. */
const GREY_JPEG = Uint8Array.fromBase64(
  "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZG" +
    "NywtQFdBRkxOUlNSMj5aYVpQYEpRUk//wAALCAAIABABAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcI" +
    "CQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcY" +
    "GRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKj" +
    "pKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/AKFv" +
    "4f6fJ+ladv4f6fJ+lf/Z",
);
const CMYK_JPEG = Uint8Array.fromBase64(
  "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2Rjcs" +
    "LUBXQUZMTlJTUjI+WmFaUGBKUVJP/8AAFAgACAAQBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAAB" +
    "AgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNi" +
    "coIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SV" +
    "lpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4E" +
    "QwBNAFkASwAAPwDk/D/8NUf+EI/6ZfpXd6l3r06vTvD/APDR/wAIR/0y/SuS1LvRX//Z",
);

const PICTURES: Record<string, Uint8Array> = {
  PNG: encodePng(example.image),
  JPEG: JPEG_RED_BLUE,
  "grey JPEG": GREY_JPEG,
  "CMYK JPEG": CMYK_JPEG,
  GIF: GIF_RED_BLUE,
};

for (const [format, file] of Object.entries(PICTURES)) {
  Deno.test(`the page decodes a ${format} to the bytes that Deno decodes it to`, async () => {
    const frames = await imagescript.decode(file, true);
    const { width, height, bitmap } = "bitmap" in frames ? frames : frames[0];
    const got = await decode(file);
    assertEquals([got.width, got.height], [width, height]);
    assertEquals(new Uint8Array(got.bitmap), new Uint8Array(bitmap));
    assert(new Set(got.bitmap).size > 2, "the picture has one colour");
  });

  Deno.test(`the page refuses a ${format} whose data is damaged`, async () => {
    const cut = file.slice(0, 30);
    await assertRejects(() => decode(cut), Error);
  });
}

fixtureTest(
  "the page decodes WebP files to the bytes that Deno decodes them to",
  async (shared) => {
    const webp = await loadWebpDecoder(load);
    const folder = `${shared}/../cases/picture_kinds`;
    let count = 0;
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.endsWith(".webp")) continue;
      const file = await Deno.readFile(`${folder}/${name}`);
      let wanted;
      try {
        wanted = decodeWebp(file);
      } catch {
        continue; // Animations, whose first frame is cut out before.
      }
      const got = webp(file);
      assertEquals([got.width, got.height], [wanted.width, wanted.height]);
      assertEquals(got.data, new Uint8Array(wanted.data));
      count++;
    }
    assert(count > 0, "there is no WebP file");
  },
);
