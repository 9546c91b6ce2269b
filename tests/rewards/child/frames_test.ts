import { assertEquals, assertRejects } from "@std/assert";
import { FRAME_HEADER_BYTES, makeFrames } from "../../../src/rewards/child/frames.ts";

const magic = new Uint8Array(16).map((_, i) => i * 7 + 1);
const key = new Uint8Array(32).fill(9);
const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

Deno.test("frames reach the other end in order", async () => {
  const host = await makeFrames(magic, key, 0);
  const child = await makeFrames(magic, key, 1);
  for (const text of ["one", "", "three"]) {
    const frame = await host.seal(bytes(text));
    assertEquals(await child.open(frame.slice(FRAME_HEADER_BYTES)), bytes(text));
  }
});

Deno.test("a frame cannot be changed, replayed, sent back, or made without the key", async () => {
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
