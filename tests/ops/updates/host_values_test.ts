import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { changeValues, hostValues } from "../../../src/ops/updates/host_values.ts";

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`changeValues() on ${backend} changes no tensor that shares the values`, async () => {
    await initBackend({ backend });
    const start = tf.tensor1d([1, 2, 3]);
    const parameter = tf.variable(start, false);
    const double = (values: Float32Array) => values.forEach((value, i) => values[i] = 2 * value);
    changeValues(parameter, double);
    assertEquals([...hostValues(start)], [1, 2, 3]);
    assertEquals([...hostValues(parameter)], [2, 4, 6]);
    const { numTensors, numBytes } = tf.memory();
    changeValues(parameter, double); // now its own
    assertEquals([...await parameter.data()], [4, 8, 12]);
    assertEquals([tf.memory().numTensors, tf.memory().numBytes], [numTensors, numBytes]);
    tf.dispose([start, parameter]);
  });
}
