import { assert, assertEquals, assertRejects } from "@std/assert";
import { decodeImage } from "../../src/image/decode_image.ts";
import { ImageDecodeError, readImageHeader } from "../../src/image/image_header.ts";
import { CASES, caseTest } from "../data/cases/shared_cases.ts";
import pictureCases from "./picture_cases.json" with { type: "json" };

const fromBase64 = (text: string) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

/** The largest difference of two lists of pixels. */
function largest(actual: Uint8Array, expected: Uint8Array): number {
  assertEquals(actual.length, expected.length);
  return actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
}

for (const { name, file, width, height, rgb, tolerance } of pictureCases) {
  Deno.test(`decodeImage() gives Pillow's pixels: ${name}`, async () => {
    const bytes = fromBase64(file);
    const header = readImageHeader(bytes);
    const image = await decodeImage(bytes);
    assertEquals([header.width, header.height], [width, height]);
    assertEquals([image.width, image.height], [width, height]);
    const difference = largest(image.data, fromBase64(rgb));
    assert(difference <= tolerance, `${difference} levels`);
  });
}

Deno.test("a WebP, BMP, TIFF or GIF that is cut is an error, never a part of the picture", async () => {
  for (const { name, file } of pictureCases) {
    if (/^(PNG|JPEG)|animated|pages/.test(name)) continue;
    const bytes = fromBase64(file);
    for (const share of [0.3, 0.6, 0.85]) {
      const cut = bytes.slice(0, Math.floor(bytes.length * share));
      const whole = await decodeImage(bytes);
      const image = await decodeImage(cut).catch((error) => {
        assert(error instanceof ImageDecodeError, `${name}: ${error.stack}`);
        return null;
      });
      // What was cut may be metadata.
      if (image !== null) assertEquals(image.data, whole.data, `${name} at ${share}`);
    }
  }
});

const refused: [string, number[], string][] = [
  ["AVIF", [0, 0, 0, 28, ...text("ftypavif")], "Cannot decode an AVIF"],
  ["AVIF behind mif1", [0, 0, 0, 28, ...text("ftypmif1"), 0, 0, 0, 0, ...text("avif")], "AVIF"],
  ["HEIF", [0, 0, 0, 28, ...text("ftypheic")], "HEIF"],
  ["ICO", [0, 0, 1, 0, 1, 0], "ICO"],
  ["PPM", text("P6\n2 2\n255\n"), "PPM"],
  ["JPEG 2000", [0, 0, 0, 12, ...text("jP  "), 13, 10], "JPEG 2000"],
  ["JPEG 2000 without a box", [0xff, 0x4f, 0xff, 0x51], "JPEG 2000"],
  ["BigTIFF", [...text("II+"), 0, 8, 0], "BigTIFF"],
  ["arithmetic JPEG", jpegFrame(0xc9), "arithmetic coding"],
  ["lossless JPEG", jpegFrame(0xc3), "lossless or hierarchical"],
];
function text(chars: string): number[] {
  return [...chars].map((char) => char.charCodeAt(0));
}
function jpegFrame(marker: number): number[] {
  return [0xff, 0xd8, 0xff, marker, 0, 11, 8, 0, 2, 0, 2, 1, 1, 0x11, 0, 0xff, 0xd9];
}
for (const [name, start, message] of refused) {
  Deno.test(`readImageHeader() refuses ${name} by its name`, async () => {
    const bytes = Uint8Array.from([...start, ...new Array<number>(40).fill(0)]);
    await assertRejects(() => decodeImage(bytes), ImageDecodeError, message);
  });
}

const kinds: [string, string | null][] = [
  ["b.bmp", null],
  ["t.tif", null],
  ["w.webp", null],
  ["wl.webp", null],
  ["a.avif", "AVIF"],
  ["i.ico", "ICO"],
  ["j.jp2", "JPEG 2000"],
  ["p.ppm", "PPM"],
];
for (const [file, format] of kinds) {
  caseTest(
    `picture_kinds/${file}: ${format === null ? "decodes" : "is refused by name"}`,
    async () => {
      const bytes = await Deno.readFile(`${CASES}picture_kinds/${file}`);
      if (format === null) {
        const { width, height, data } = await decodeImage(bytes);
        assertEquals(data.length, width * height * 3);
        assert(new Set(data).size > 20);
      } else {
        await assertRejects(
          () => decodeImage(bytes),
          ImageDecodeError,
          ` ${format}: only PNG`,
        );
      }
    },
  );
}

caseTest("exif: pictures come upright", async () => {
  const size = async (file: string) => {
    const { width, height } = await decodeImage(await Deno.readFile(`${CASES}exif/${file}`));
    return [width, height];
  };
  assertEquals(await size("exif6.jpg"), [131, 203]);
  assertEquals(await size("exif3.jpg"), [203, 131]);
});

caseTest("gif: what the frame does not cover has the background colour", async () => {
  const image = await decodeImage(await Deno.readFile(`${CASES}gif/gif_offset.gif`));
  assertEquals([image.width, image.height], [100, 80]);
  assertEquals([...image.data.subarray(0, 3)], [10, 10, 200]);
});
