import { assertEquals, assertStrictEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { add, scale } from "../../src/ops/arithmetic.ts";
import { valueAndGradients } from "../../src/ops/tape/backward.ts";

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`add() and scale() equal tfjs's, forward and back (${backend})`, async () => {
    await initBackend({ backend });
    const a = tf.tensor2d([1, -2, 3, 4], [2, 2]), b = tf.tensor2d([5, 6, -7, 8], [2, 2]);
    const before = tf.memory().numTensors;
    const run = (f: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) => {
      const { value, gradients } = valueAndGradients(() => f(a, b).square().sum(), [a, b]);
      const tensors = [value, ...gradients as tf.Tensor[]];
      const values = tensors.map((tensor) => Array.from(tensor.dataSync()));
      tf.dispose(tensors);
      return values;
    };
    // b comes in twice: its gradients are added.
    assertEquals(
      run((a, b) => add(add(scale(a, 0.5), b), scale(b, -3))),
      run((a, b) => a.mul(0.5).add(b).add(b.mul(-3))),
    );
    assertEquals(tf.memory().numTensors, before);
    assertStrictEquals(scale(a, 1), a);
    tf.dispose([a, b]);
  });
}
