import { assertEquals } from "@std/assert";
import { FRAME_HEADER_BYTES } from "../../../src/rewards/child/frames.ts";
import { FrameReader } from "../../../src/rewards/host/frame_reader.ts";

const magic = new Uint8Array(16).map((_, i) => i * 7 + 1);
const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

Deno.test("the reader finds frames between noise, however the pipe cuts them", () => {
  const frame = (text: string): Uint8Array => {
    const part = bytes(text);
    const all = new Uint8Array(FRAME_HEADER_BYTES + part.length);
    all.set(magic);
    new DataView(all.buffer).setUint32(16, part.length);
    all.set(part, FRAME_HEADER_BYTES);
    return all;
  };
  const stream = new Uint8Array([
    ...bytes("noise"),
    ...frame("first"),
    ...magic.subarray(0, 5),
    ...bytes("half a magic"),
    ...frame(""),
    ...frame("x".repeat(1000)),
    ...bytes("end"),
  ]);
  for (const size of [1, 2, 7, 20, 333, stream.length]) {
    const parts: string[] = [];
    let noise = "";
    const reader = new FrameReader(magic, {
      sealed: (part) => parts.push(new TextDecoder().decode(part)),
      noise: (some) => noise += String.fromCharCode(...some),
    });
    for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size));
    assertEquals(parts, ["first", "", "x".repeat(1000)], `cut into ${size}`);
    assertEquals(noise, `noise${String.fromCharCode(...magic.subarray(0, 5))}half a magicend`);
  }
});
