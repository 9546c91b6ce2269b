import { assertEquals, assertRejects } from "@std/assert";
import { FrameReader } from "../../../src/rewards/child/frame_reader.ts";
import { FRAME_HEADER_BYTES, makeFrames } from "../../../src/rewards/child/frames.ts";

const magic = new Uint8Array(16).map((_, i) => i * 7 + 1);
const key = new Uint8Array(32).fill(9);
const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

Deno.test("frames reach the other end in their order", async () => {
  const host = await makeFrames(magic, key, 0);
  const child = await makeFrames(magic, key, 1);
  for (const text of ["one", "", "three"]) {
    const frame = await host.seal(bytes(text));
    assertEquals(await child.open(frame.slice(FRAME_HEADER_BYTES)), bytes(text));
  }
});

Deno.test("a frame cannot be changed, played again, sent back, or made without the key", async () => {
  const host = await makeFrames(magic, key, 0);
  const sealed = (await host.seal(bytes("score 1"))).slice(FRAME_HEADER_BYTES);
  const changed = sealed.slice();
  changed[2] ^= 1;
  await assertRejects(async () => await (await makeFrames(magic, key, 1)).open(changed));
  const child = await makeFrames(magic, key, 1);
  await child.open(sealed);
  await assertRejects(() => child.open(sealed));
  await assertRejects(() => host.open(sealed));
  const stranger = await makeFrames(magic, new Uint8Array(32), 1);
  const forged = (await stranger.seal(bytes("score 9"))).slice(FRAME_HEADER_BYTES);
  await assertRejects(async () => await (await makeFrames(magic, key, 0)).open(forged));
});

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
