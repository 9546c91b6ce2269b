import { assert, assertEquals, assertRejects } from "@std/assert";
import { embeddedShapes, shapesVqaRows } from "../../src/data/embedded/embedded_shapes.ts";
import { ImageDecodeError } from "../../src/image/image_header.ts";
import { ImageProcessor } from "../../src/image/image_processor.ts";
import { ImageWorkers, spareWorkers } from "../../src/image/image_workers.ts";
import { GIF_RED_BLUE, JPEG_RED_BLUE } from "./picture_files.ts";

const processor = new ImageProcessor({
  maxImgSize: 64,
  splitImageSize: 32,
  resizeToMaxSideLen: true,
  normalize: { mean: [0.5, 0.4, 0.3], std: [0.2, 0.3, 0.4] },
});

/** Drawn PNGs. */
const drawn = shapesVqaRows(embeddedShapes({ trainPictures: 6 }).train)
  .map(({ images }) => (images as Uint8Array[])[0]);

Deno.test("threads give the bytes that the main thread gives", async () => {
  const workers = new ImageWorkers(processor);
  workers.start(2);
  const files = [JPEG_RED_BLUE, GIF_RED_BLUE, ...drawn];
  const images = await Promise.all(files.map((bytes) => workers.process(bytes)));
  for (const [i, bytes] of files.entries()) {
    assertEquals(images[i], await processor.process(bytes), `file ${i}`);
  }
  assertEquals(workers.count, 2);
  assertEquals(workers.hereMs, 0, "nothing was done on the main thread");
  // The files were sent, not handed over: who sent them still has them.
  assert(files.every((bytes) => bytes.length > 0));
  await workers.close();
});

Deno.test("a picture that cannot be decoded gives the same error out of a thread", async () => {
  const workers = new ImageWorkers(processor);
  workers.start(1);
  for (const bytes of [new Uint8Array(3), drawn[0].slice(0, 60), new Uint8Array(0)]) {
    const here = await assertRejects(() => processor.process(bytes), ImageDecodeError);
    const there = await assertRejects(() => workers.process(bytes), ImageDecodeError);
    assertEquals(there.message, here.message);
  }
  assertEquals((await workers.process(drawn[0])).tileCount, 5);
  await workers.close();
});

/** A module for threads, as an address. */
const moduleOf = (source: string) => `data:application/javascript,${encodeURIComponent(source)}`;

/** What may become of a thread. */
const FATES = {
  "never comes up": "this is not a program",
  "does not find its module": "export const other = 1;",
  "dies at once": "export function serveImages() { throw new Error('no'); }",
  "ends at its first picture": `export function serveImages(port) {
    port.on("message", () => Deno.exit(1));
    port.postMessage({ ready: true });
  }`,
  "cannot do it": `export function serveImages(port) {
    port.on("message", ({ id }) => port.postMessage({ id, failed: "no decoder" }));
    port.postMessage({ ready: true });
  }`,
};

for (const [fate, source] of Object.entries(FATES)) {
  Deno.test(`if a thread ${fate}, the main thread does its jobs`, async () => {
    const workers = new ImageWorkers(processor, moduleOf(source));
    workers.start(1);
    const images = await Promise.all(drawn.map((bytes) => workers.process(bytes)));
    for (const [i, bytes] of drawn.entries()) {
      assertEquals(images[i], await processor.process(bytes));
    }
    assert(workers.hereMs > 0);
    if (fate !== "cannot do it") assertEquals(workers.count, 0, "a lost thread gets no more");
    await assertRejects(() => workers.process(new Uint8Array(3)), ImageDecodeError);
    await workers.close();
  });
}

Deno.test("close() rejects what is queued, and threads can be started again", async () => {
  const workers = new ImageWorkers(processor);
  workers.start(1);
  const waiting = drawn.map((bytes) => workers.process(bytes));
  const settled = Promise.allSettled(waiting);
  await workers.close();
  assert((await settled).some(({ status }) => status === "rejected"));
  assertEquals(workers.count, 0);
  workers.start(1);
  assertEquals(await workers.process(drawn[1]), await processor.process(drawn[1]));
  await workers.close();
});

Deno.test("a program ends by itself while threads wait for work", async () => {
  const module = new URL("../../src/image/", import.meta.url);
  const script = `
    import { ImageProcessor } from "${module}image_processor.ts";
    import { ImageWorkers } from "${module}image_workers.ts";
    const workers = new ImageWorkers(new ImageProcessor({
      maxImgSize: 32, splitImageSize: 32, resizeToMaxSideLen: false,
    }));
    workers.start(2);
    const bytes = Uint8Array.from(${JSON.stringify([...GIF_RED_BLUE])});
    const { tileCount } = await workers.process(bytes);
    console.log(tileCount, workers.count, workers.hereMs);
  `;
  const hangs = AbortSignal.timeout(60_000);
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    cwd: new URL("../../", import.meta.url),
    signal: hangs,
  }).output();
  assertEquals(hangs.aborted, false, "it did not end");
  assertEquals([code, new TextDecoder().decode(stdout).trim()], [0, "1 2 0"]);
});

Deno.test("a machine has at least one thread to spare", () => {
  assert(spareWorkers() >= 1 && spareWorkers() <= Math.max(1, navigator.hardwareConcurrency - 1));
});
