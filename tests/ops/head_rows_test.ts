import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { headEntropyComposite } from "../../src/ops/head.ts";
import { headEntropyRows } from "../../src/ops/head_rows.ts";
import { lossGradients } from "../../src/train/loop/gradients.ts";

await initBackend({ backend: "wasm" });

for (const [N, C, V] of [[1, 3, 2], [5, 4, 7], [65, 8, 33]]) {
  Deno.test(`headEntropyRows() of [${N}, ${C}] and ${V} tokens: values and gradients`, () => {
    const hidden = tf.variable(tf.randomNormal([N, C], 0, 1, "float32", 1));
    const head = tf.variable(tf.randomNormal([V, C], 0, 1, "float32", 2));
    const weights = tf.randomNormal([N], 0, 1, "float32", 3);
    const states = hidden as unknown as tf.Tensor2D, table = head as unknown as tf.Tensor2D;
    const sum = () => headEntropyRows(states, table, 0.7).mul(weights).sum() as tf.Scalar;
    const expected = headEntropyComposite(states, table, 0.7).dataSync();
    const got = tf.tidy(() => headEntropyRows(states, table, 0.7)).dataSync();
    got.forEach((value, i) => assertAlmostEquals(value, expected[i], 1e-5));
    const parameters = new Map([["hidden", hidden], ["head", head]]);
    const { numTensors } = tf.memory();
    const { loss, gradients } = lossGradients(sum, parameters);
    assertEquals(tf.memory().numTensors, numTensors + 3);
    for (const [name, variable] of parameters) {
      const gradient = gradients.get(name)!.dataSync(), at = variable.dataSync().slice();
      for (const i of [0, at.length >> 1, at.length - 1]) {
        const value = (change: number) => {
          const moved = at.slice();
          moved[i] += change;
          tf.tidy(() => variable.assign(tf.tensor(moved, variable.shape)));
          return tf.tidy(sum).dataSync()[0];
        };
        const difference = (value(1e-2) - value(-1e-2)) / 2e-2;
        tf.tidy(() => variable.assign(tf.tensor(at, variable.shape)));
        assertAlmostEquals(gradient[i], difference, 2e-3 * Math.max(1, Math.abs(difference)), name);
      }
    }
    assert(loss.dataSync().length === 1);
    tf.dispose([loss, hidden, head, weights, ...gradients.values()]);
  });
}
