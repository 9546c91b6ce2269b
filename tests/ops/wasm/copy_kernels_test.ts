import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import "../../../src/ops/wasm/runtime/install.ts";

/** Shape, axis, and the sizes (or the number) of the pieces. */
const SPLITS: [number[], number, number | number[]][] = [
  [[2, 3, 12], 2, 3],
  [[2, 3, 12], -1, [5, 1, 6]],
  [[2, 9, 5], 1, [2, -1]],
  [[6, 5], 0, [1, 3, 2]],
  [[7], 0, [3, 4]],
  [[300, 400], 1, [133, 267]],
  [[2, 0, 4], 2, 2],
];

async function onBoth<T>(run: () => T): Promise<[T, T]> {
  await initBackend({ backend: "wasm" });
  const ours = run();
  await initBackend({ backend: "cpu" });
  return [ours, run()];
}

for (const dtype of ["float32", "int32"] as const) {
  Deno.test(`${dtype} tensors are split and joined on every axis as on the cpu backend`, async () => {
    for (const [shape, axis, sizes] of SPLITS) {
      const size = shape.reduce((x, y) => x * y, 1);
      const [ours, oracle] = await onBoth(() =>
        tf.tidy(() => {
          const x = tf.range(0, size, 1, dtype).reshape(shape);
          const parts = tf.split(x, sizes, axis);
          const turned = [...parts].reverse();
          return [...parts, tf.concat(turned, axis), tf.concat([parts[0]], axis)]
            .map((tensor) => ({ shape: tensor.shape, values: [...tensor.dataSync()] }));
        })
      );
      assertEquals(ours, oracle, `[${shape}] along ${axis}`);
    }
  });
}

Deno.test("splitting has its gradient, and leaves no tensors behind", async () => {
  const [ours, oracle] = await onBoth(() => {
    const x = tf.range(0, 24).reshape([2, 12]);
    const before = tf.memory().numTensors;
    const slope = tf.tidy(() =>
      tf.grad((x: tf.Tensor) => {
        const [a, b] = tf.split(x, [4, 8], 1);
        return a.square().sum().add(b.mul(3).sum());
      })(x)
    );
    const result = [...slope.dataSync(), tf.memory().numTensors - before];
    tf.dispose([x, slope]);
    return result;
  });
  assertEquals(ours, oracle);
});
