import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { addEmbeddingNoise } from "../../src/model/embedding_noise.ts";

await initBackend({ backend: "wasm" });

const noiseOf = async (rowLengths: number[], key: number, alpha = 5, C = 64) => {
  const N = rowLengths.reduce((sum, length) => sum + length, 0);
  const noisy = tf.tidy(() => addEmbeddingNoise(tf.zeros([N, C]), { alpha, key, rowLengths }));
  const values = (await noisy.data() as Float32Array).slice();
  noisy.dispose();
  return values;
};

Deno.test("addEmbeddingNoise() is uniform in ±alpha / √(L·C), each row by its own length", async () => {
  const values = await noiseOf([400, 25], 7);
  for (const [from, length] of [[0, 400], [400, 25]]) {
    const row = values.subarray(from * 64, (from + length) * 64);
    const bound = 5 / Math.sqrt(length * 64);
    assert(row.every((value) => Math.abs(value) <= bound * 1.000001));
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + value * value, 0) / row.length;
    assert(Math.abs(mean) < 0.05 * bound, `mean ${mean} of ±${bound}`);
    // A uniform variable's variance is a third of its squared bound.
    assert(Math.abs(variance / (bound ** 2 / 3) - 1) < 0.05, `variance ${variance}`);
  }
});

Deno.test("addEmbeddingNoise() depends on its key alone", async () => {
  assertEquals(await noiseOf([3, 4], 7), await noiseOf([3, 4], 7));
  const [one, other] = [await noiseOf([3, 4], 7), await noiseOf([3, 4], 8)];
  assert(one.filter((value, i) => value === other[i]).length < one.length / 20);
});

Deno.test("addEmbeddingNoise() refuses lengths of another batch", () => {
  assertThrows(
    () => addEmbeddingNoise(tf.zeros([5, 2]), { alpha: 1, key: 1, rowLengths: [2, 2] }),
    Error,
    "rowLengths has 4 tokens",
  );
});
