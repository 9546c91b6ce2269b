import { assert, assertEquals } from "@std/assert";
import { Image } from "imagescript";
import { thumbnailUrl } from "../../../src/report/page/picture.ts";

async function decode(url: string | null) {
  assert(url !== null && url.startsWith("data:image/png;base64,"));
  return await Image.decode(Uint8Array.fromBase64(url.slice(url.indexOf(",") + 1)));
}

Deno.test("thumbnailUrl() shows raw RGB and RGBA pixels as they are", async () => {
  const rgb = new Uint8Array([255, 0, 0, 0, 255, 0]);
  const image = await decode(await thumbnailUrl({ width: 2, height: 1, data: rgb }));
  assertEquals([...image.bitmap], [255, 0, 0, 255, 0, 255, 0, 255]);
  const rgba = new Uint8Array([1, 2, 3, 255]);
  const other = await decode(await thumbnailUrl({ width: 1, height: 1, data: rgba }));
  assertEquals([...other.bitmap], [1, 2, 3, 255]);
});

Deno.test("thumbnailUrl() makes large files small and keeps their shape", async () => {
  const file = await new Image(800, 200).fill(0x336699ff).encode();
  const image = await decode(await thumbnailUrl(file, 192));
  assertEquals([image.width, image.height], [192, 48]);
  assertEquals([...image.bitmap.subarray(0, 3)], [0x33, 0x66, 0x99]);
});

Deno.test("thumbnailUrl() gives null for bytes that are not a picture, or claim too many pixels", async () => {
  assertEquals(await thumbnailUrl(new TextEncoder().encode("<svg onload=alert(1)>")), null);
  assertEquals(await thumbnailUrl({ width: 2, height: 2, data: new Uint8Array(5) }), null);
  const bomb = await new Image(1, 1).encode();
  new DataView(bomb.buffer, bomb.byteOffset).setUint32(16, 60_000);
  new DataView(bomb.buffer, bomb.byteOffset).setUint32(20, 60_000);
  assertEquals(await thumbnailUrl(bomb), null);
});
