/** Weights are freed after their upload on wasm, and the model has their values. */
import { assertEquals } from "@std/assert";
import { initBackend } from "../../src/device/backend.ts";
import { readBack } from "../../src/device/read_back.ts";
import { holdWeights } from "../../src/model/model_weights.ts";
import { packRounded } from "../../src/model/packed_weights.ts";
import { releasedAfterUpload, releaseMemory } from "../../src/model/release_memory.ts";
import type { PackedWeight } from "../../src/ops/half/packed_weight.ts";
import { defaultVLMConfig } from "../../src/vlm_config.ts";
import type * as tf from "@tensorflow/tfjs";

Deno.test("a part of a buffer is not freed, a whole one is, once or twice", () => {
  const all = new Float32Array(8), part = all.subarray(2);
  releaseMemory(part);
  assertEquals(all.length, 8);
  releaseMemory(all);
  releaseMemory(all);
  assertEquals([all.length, part.length], [0, 0]);
});

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`weights that are freed after their upload to ${backend} are read back`, async () => {
    await initBackend({ backend });
    const given = () => Float32Array.from({ length: 96 }, (_, i) => Math.fround(Math.sin(i)));
    const shape = [12, 8];
    const floats = { shape, data: given() };
    const packed = packRounded({ shape, data: given() }, "BF16")!;
    const bits = packed.bits.slice();
    const weights = new Map<string, tf.Variable>(), packedWeights = new Map<string, PackedWeight>();
    const both = [["wide", floats], ["narrow", packed]] as const;
    const released = releasedAfterUpload(both.map(([name, values]) => [name, values]));
    holdWeights(defaultVLMConfig(), released, weights, packedWeights);
    const isFreed = backend === "wasm";
    assertEquals([floats.data.length, packed.bits.length], isFreed ? [0, 0] : [96, 96]);
    const [found] = await readBack([weights.get("wide")!]);
    assertEquals(found, given());
    assertEquals(await packedWeights.get("narrow")!.bits(), bits);
    weights.get("wide")!.dispose();
    packedWeights.get("narrow")!.dispose();
    await initBackend({ backend: "wasm" });
  });
}
