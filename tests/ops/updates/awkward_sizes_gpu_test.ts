import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { RandomStream } from "../../../src/random.ts";
import type { OptimizerName } from "../../../src/config/schema/optimizer/optimizer_names.ts";
import { Optimizer } from "../../../src/train/optimizer/optimizer.ts";
import { gpuTest } from "../../gpu_adapter.ts";

/** Odd counts, and one above and below what a lane, a block or a workgroup takes. */
const SIZES = [1, 3, 63, 65, 255, 257, 1030];

/** Weights, codes and means after three steps on a backend. */
async function run(backend: "cpu" | "webgpu", name: OptimizerName, shares: boolean) {
  await initBackend({ backend });
  const random = new RandomStream(5, "updates");
  const draw = (size: number, scale: number) =>
    Float32Array.from({ length: size }, () => random.nextNormal() * scale);
  const parameters = new Map(SIZES.map((size) => [
    `w${size}`,
    tf.tidy(() => tf.variable(tf.tensor1d(draw(size, 1)), false) as tf.Variable),
  ]));
  // A clone shares the values; it must keep them when the parameter is updated in place.
  const clones = shares ? [...parameters.values()].map((one) => one.clone()) : [];
  const before = await readBack(clones);
  const args: Record<string, number> = name.endsWith("8bit") ? { min_8bit_size: 0 } : {};
  const optimizer = new Optimizer(
    [{ name: "g", learningRate: 0.01, weightDecay: 0.1, parameters }],
    { beta1: 0.9, beta2: 0.99, eps: 1e-6, maxGradNorm: 0, name, arguments: args },
  );
  for (let step = 0; step < 3; step++) {
    const gradients = new Map(
      SIZES.map((size) => [`w${size}`, tf.tensor1d(draw(size, 0.1)) as tf.Tensor]),
    );
    optimizer.step(gradients, 1, 1);
    tf.dispose([...gradients.values()]);
  }
  assertEquals(await readBack(clones), before);
  const weights = await readBack([...parameters.values()]);
  const { arrays } = await optimizer.state();
  const copies = new Map(Array.from(arrays, ([key, { data }]) => [key, data.slice()]));
  tf.dispose([...parameters.values(), ...clones]);
  optimizer.dispose();
  return { weights: weights.map((values) => values.slice()), arrays: copies };
}

for (
  const name of ["lion_32bit", "lion_8bit", "adamw_bnb_8bit", "schedule_free_adamw"] as const
) {
  gpuTest(`${name} at awkward sizes gives on webgpu what the loop gives`, async () => {
    const expected = await run("cpu", name, false);
    for (const shares of [false, true]) {
      const found = await run("webgpu", name, shares);
      // A code that is the neighbour moves a weight by less than a step of the map.
      const tolerance = name === "adamw_bnb_8bit" ? 1e-4 : 2e-6;
      expected.weights.forEach((values, k) =>
        values.forEach((value, i) => {
          const off = Math.abs(found.weights[k][i] - value);
          assert(off < tolerance, `${SIZES[k]} values, ${i}: ${found.weights[k][i]}, ${value}`);
        })
      );
      for (const [key, values] of expected.arrays) {
        const others = found.arrays.get(key)!;
        assertEquals(others.length, values.length);
        const most = values instanceof Uint8Array ? 1 : 2e-6;
        const off = values.findIndex((value, i) => !(Math.abs(others[i] - value) <= most));
        assert(off < 0, `${key}[${off}]: ${others[off]}, ${values[off]}`);
      }
    }
  });
}
