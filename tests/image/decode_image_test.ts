import { assert, assertEquals, assertRejects } from "@std/assert";
import { decodeImage } from "../../src/image/decode_image.ts";
import { ImageDecodeError } from "../../src/image/image_header.ts";
import { RandomStream } from "../../src/random.ts";
import { GIF_RED_BLUE, JPEG_RED_BLUE, JPEG_ROTATED } from "./picture_files.ts";
import { pngFile } from "./png_file.ts";

const bytes = (...values: number[]) => new Uint8Array(values);

Deno.test("decodeImage() drops alpha without compositing", async () => {
  const rows = [bytes(200, 100, 50, 0, 1, 2, 3, 255)];
  const file = await pngFile({ width: 2, height: 1, depth: 8, colorType: 6, rows });
  assertEquals([...(await decodeImage(file)).data], [200, 100, 50, 1, 2, 3]);
  const grey = await pngFile({
    width: 2,
    height: 1,
    depth: 8,
    colorType: 4,
    rows: [bytes(9, 0, 7, 1)],
  });
  assertEquals([...(await decodeImage(grey)).data], [9, 9, 9, 7, 7, 7]);
});

Deno.test("decodeImage() expands palettes and grey of few bits", async () => {
  const palette: [string, Uint8Array] = ["PLTE", bytes(1, 2, 3, 250, 251, 252)];
  const file = await pngFile({
    width: 2,
    height: 1,
    depth: 1,
    colorType: 3,
    rows: [bytes(0b01000000)],
    chunks: [palette, ["tRNS", bytes(0, 0)]],
  });
  assertEquals([...(await decodeImage(file)).data], [1, 2, 3, 250, 251, 252]);
  const grey = await pngFile({ width: 2, height: 1, depth: 4, colorType: 0, rows: [bytes(0x3f)] });
  assertEquals([...(await decodeImage(grey)).data], [51, 51, 51, 255, 255, 255]);
});

Deno.test("decodeImage() scales 16 bits to 8", async () => {
  const rows = [bytes(0x80, 0x00, 0xff, 0xff)];
  const file = await pngFile({ width: 2, height: 1, depth: 16, colorType: 0, rows });
  assertEquals([...(await decodeImage(file)).data], [128, 128, 128, 255, 255, 255]);
});

Deno.test("decodeImage() keeps the colour that a PNG calls transparent", async () => {
  const grey = await pngFile({
    width: 2,
    height: 1,
    depth: 8,
    colorType: 0,
    rows: [bytes(77, 3)],
    chunks: [["tRNS", bytes(0, 77)]],
  });
  assertEquals([...(await decodeImage(grey)).data], [77, 77, 77, 3, 3, 3]);
  const color = await pngFile({
    width: 1,
    height: 1,
    depth: 8,
    colorType: 2,
    rows: [bytes(9, 8, 7)],
    chunks: [["tRNS", bytes(0, 9, 0, 8, 0, 7)]],
  });
  assertEquals([...(await decodeImage(color)).data], [9, 8, 7]);
});

function assertRedThenBlue(image: { width: number; height: number; data: Uint8Array }): void {
  assertEquals([image.width, image.height], [16, 8]);
  const at = (x: number) => [...image.data.subarray((3 * 16 + x) * 3, (3 * 16 + x) * 3 + 3)];
  const near = (actual: number[], expected: number[]) =>
    assert(actual.every((value, i) => Math.abs(value - expected[i]) <= 3), `${actual}`);
  near(at(3), [200, 30, 40]);
  near(at(12), [20, 60, 220]);
}

Deno.test("decodeImage() reads JPEG and GIF", async () => {
  assertRedThenBlue(await decodeImage(JPEG_RED_BLUE));
  assertRedThenBlue(await decodeImage(GIF_RED_BLUE));
});

Deno.test("decodeImage() turns a picture upright by its EXIF orientation", async () => {
  const { width, height } = await decodeImage(JPEG_ROTATED);
  assertEquals([width, height], [8, 16]);
});

Deno.test("decodeImage() refuses a small file that claims 60,000 x 60,000 pixels", async () => {
  for (const side of [60_000, 8193]) {
    const file = await pngFile({
      width: side,
      height: side,
      depth: 8,
      colorType: 2,
      rows: [bytes(1, 2, 3)],
    });
    assert(file.length < 200);
    await assertRejects(() => decodeImage(file), ImageDecodeError, `claims ${side} x ${side}`);
  }
  const jpeg = JPEG_RED_BLUE.slice();
  const frame = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc0);
  jpeg.set([0xff, 0xff, 0xff, 0xff], frame + 5);
  await assertRejects(() => decodeImage(jpeg), ImageDecodeError, "claims 65535 x 65535");
  const gif = GIF_RED_BLUE.slice();
  const descriptor = gif.indexOf(0x2c);
  gif.set([0xff, 0xff, 0xff, 0xff], descriptor + 5);
  await assertRejects(() => decodeImage(gif), ImageDecodeError, "claims 65535 x 65535");
});

Deno.test("decodeImage() takes another limit", async () => {
  const options = { maxPixels: 100 };
  await assertRejects(() => decodeImage(JPEG_RED_BLUE, options), ImageDecodeError, "100 allowed");
});

Deno.test("decodeImage() names formats that it cannot read, and unknown bytes", async () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const cases: [Uint8Array, string][] = [
    [text("RIFF\x00\x00\x00\x00WEBPVP8 "), "Cannot decode a WebP"],
    [bytes(0x49, 0x49, 0x2a, 0, 8, 0, 0, 0), "Cannot decode a TIFF"],
    [text("BM000000000000"), "Cannot decode a BMP"],
    [text("hello, picture"), "no known format"],
    [bytes(), "it has no bytes"],
    [bytes(0x89, 0x50), "no known format"],
  ];
  for (const [file, message] of cases) {
    await assertRejects(() => decodeImage(file), ImageDecodeError, message);
  }
});

Deno.test("decodeImage() refuses files that are cut anywhere", async () => {
  const rows = Array.from({ length: 12 }, (_, y) => new Uint8Array(12 * 3).fill(y * 20));
  const png = await pngFile({ width: 12, height: 12, depth: 8, colorType: 2, rows });
  for (const file of [png.subarray(0, -12), JPEG_RED_BLUE, GIF_RED_BLUE.subarray(0, -2)]) {
    for (let length = 0; length < file.length - 1; length += 7) {
      await assertRejects(() => decodeImage(file.subarray(0, length)), ImageDecodeError);
    }
  }
});

Deno.test("decodeImage() turns every broken file into pixels or an ImageDecodeError", async () => {
  const rows = Array.from({ length: 12 }, (_, y) => new Uint8Array(12 * 3).fill(y * 20));
  const png = await pngFile({ width: 12, height: 12, depth: 8, colorType: 2, rows });
  const random = new RandomStream(7, "broken images");
  let refused = 0;
  for (const file of [png, JPEG_RED_BLUE, GIF_RED_BLUE]) {
    const sound = await decodeImage(file);
    for (let i = 0; i < 150; i++) {
      const broken = file.slice();
      for (let n = 0; n <= i % 6; n++) {
        broken[random.nextInt(broken.length)] = random.nextInt(256);
      }
      try {
        const { width, height, data } = await decodeImage(broken);
        assertEquals(data.length, width * height * 3);
      } catch (error) {
        assert(error instanceof ImageDecodeError, String(error));
        refused++;
      }
    }
    assertEquals(await decodeImage(file), sound); // the decoder is as good as before
  }
  assert(refused > 150, `only ${refused} refused`);
});
