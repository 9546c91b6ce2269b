import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import type { ImageTiles } from "../../src/model/batch.ts";
import { PictureFeatures } from "../../src/model/picture_features.ts";
import { SpillFile } from "../../src/model/spill_file.ts";
import { gpuTest } from "../gpu_adapter.ts";

const SIDE = 2;
/** Bytes of a tile's features in these tests. */
const TILE_BYTES = 3 * SIDE * SIDE * 4;

function picture(seed: number, tileCount = 1): ImageTiles {
  const length = tileCount * 3 * SIDE * SIDE;
  return { tiles: Float32Array.from({ length }, (_, i) => Math.sin(seed + i)), tileCount };
}

/** Features of a fake encoder that counts its calls, [N, P, C] of [N, 3, S, S]. */
function counted(memoryBytes: number, diskBytes = 0, folder?: string) {
  const calls: number[] = [];
  const features = new PictureFeatures({
    encode(images) {
      calls.push(images.shape[0]);
      return images.mul(3).reshape([images.shape[0], SIDE * SIDE, 3]);
    },
    ...{ side: SIDE, memoryBytes, diskBytes, folder },
  });
  return { features, calls };
}

async function values(features: PictureFeatures, pictures: readonly ImageTiles[]) {
  const tensor = features.of(pictures);
  const [read] = await readBack([tensor]);
  tensor.dispose();
  return { shape: tensor.shape, values: Array.from(read as Float32Array) };
}

const expected = (pictures: readonly ImageTiles[]) =>
  pictures.flatMap(({ tiles }) => Array.from(tiles, (value) => Math.fround(value * 3)));

Deno.test("a picture is encoded once, alone, and told by its pixels", async () => {
  await initBackend({ backend: "wasm" });
  const { features, calls } = counted(1e6);
  const first = [picture(1), picture(2, 2), picture(1)];
  const before = tf.memory().numTensors;
  const got = await values(features, first);
  assertEquals(got, { shape: [4, SIDE * SIDE, 3], values: expected(first) });
  assertEquals(calls, [1, 2]); // the third is the first
  const again = [picture(2, 2), picture(3)];
  assertEquals((await values(features, again)).values, expected(again));
  assertEquals(calls, [1, 2, 1]);
  assertEquals(tf.memory().numTensors, before);
  assertEquals(features.counts, {
    reused: 1,
    computed: 3,
    memoryBytes: 4 * TILE_BYTES,
    diskBytes: 0,
  });
  features.dispose();
});

Deno.test("what is kept stays within its budget, and the first pictures stay", async () => {
  await initBackend({ backend: "wasm" });
  const { features, calls } = counted(2 * TILE_BYTES);
  for (let epoch = 0; epoch < 3; epoch++) {
    for (const seed of [1, 2, 3]) await values(features, [picture(seed)]);
  }
  assertEquals(calls.length, 3 + 1 + 1);
  assertEquals(features.counts.memoryBytes, 2 * TILE_BYTES);
  features.dispose();
  const none = counted(0);
  for (let i = 0; i < 2; i++) await values(none.features, [picture(1)]);
  assertEquals(none.calls.length, 2);
});

Deno.test("pictures that do not fit in memory are read from a file that has no name", async () => {
  await initBackend({ backend: "wasm" });
  const folder = await Deno.makeTempDir();
  try {
    const { features, calls } = counted(TILE_BYTES, 2 * TILE_BYTES, folder);
    for (let epoch = 0; epoch < 2; epoch++) {
      for (const seed of [1, 2, 3, 4]) {
        assertEquals((await values(features, [picture(seed)])).values, expected([picture(seed)]));
      }
    }
    assertEquals(calls.length, 4 + 1); // the fourth fits nowhere
    assertEquals(features.counts.diskBytes, 2 * TILE_BYTES);
    const names = [...Deno.readDirSync(folder)].length;
    assertEquals(names, Deno.build.os === "windows" ? 1 : 0);
    features.dispose();
    assertEquals([...Deno.readDirSync(folder)].length, 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("without a folder that can be written, pictures are computed again", async () => {
  await initBackend({ backend: "wasm" });
  const { features, calls } = counted(0, 1e6, "/nowhere/at/all");
  for (let i = 0; i < 2; i++) {
    assertEquals((await values(features, [picture(1)])).values, expected([picture(1)]));
  }
  assertEquals(calls.length, 2);
  features.dispose();
});

Deno.test("a spill file returns what was appended, and null beyond its end", () => {
  const file = SpillFile.create()!;
  const first = Float32Array.from([1, 2, 3]), second = Float32Array.from([4, 5]);
  assertEquals([file.append(first), file.append(second)], [0, 12]);
  assertEquals(file.read(12, 2), second);
  assertEquals(file.read(0, 3), first);
  assertEquals(file.read(12, 3), null);
  file.close();
});

gpuTest("on WebGPU the values are kept when they have arrived", async () => {
  await initBackend({ backend: "webgpu" });
  const { features, calls } = counted(1e6);
  const before = tf.memory().numTensors;
  await values(features, [picture(1)]);
  for (let i = 0; i < 100 && features.counts.memoryBytes === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals((await values(features, [picture(1)])).values, expected([picture(1)]));
  assertEquals(calls.length, 1);
  assert(tf.memory().numTensors <= before);
  features.dispose();
});
