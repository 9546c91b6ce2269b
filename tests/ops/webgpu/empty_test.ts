/** Ops on no rows at all: WebGPU binds no empty buffer, so nothing may be dispatched for them. */
import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { randomTensor } from "../random_tensor.ts";
import { kernelTest } from "./webgpu_op.ts";

/** The value is empty; gradients are zeros, or the sums that there were. */
async function assertNothing(
  name: string,
  op: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
): Promise<void> {
  for (const summed of [false, true]) {
    const sums = inputs.map(({ shape }) => summed ? tf.fill(shape, 2) : undefined);
    const { value, gradients } = valueAndGradients(() => op(...inputs), inputs, undefined, sums);
    assertEquals(value.size, 0, name);
    const found = gradients.filter((gradient) => gradient !== null);
    assertEquals(found.length, inputs.length, name);
    for (const values of await readBack(found)) {
      assertEquals([...values].filter((number) => number !== (summed ? 2 : 0)), [], name);
    }
    tf.dispose([value, ...found]);
  }
  tf.dispose(inputs);
}

kernelTest("no rows give no rows, and gradients of zero", async (k) => {
  // The pool has buffers with old values, so that a missing write shows.
  tf.tidy(() => [8, 64, 96].forEach((size) => tf.fill([size], 7).add(1)));
  const none = () => tf.zeros([0, 8]);
  const weight = () => randomTensor([12, 8], 1);
  await assertNothing("linear", (x, w, b) => k.linear(x, w, b), [
    ...[none(), weight(), randomTensor([12], 2)],
  ]);
  await assertNothing("linear with GELU", (x, w) => k.linear(x, w, undefined, { gelu: true }), [
    ...[none(), weight()],
  ]);
  await assertNothing("linear with a branch", (x, w, loraA, loraB) =>
    k.linear(x, w, undefined, {
      branch: { loraA, loraB, scaling: 2 },
    }), [none(), weight(), randomTensor([4, 8], 3), randomTensor([12, 4], 4)]);
  await assertNothing("rmsNorm", (x, w) => k.rmsNorm(x, w, 1e-5), [
    ...[none(), randomTensor([8], 1)],
  ]);
  await assertNothing("layerNorm", (x, w, b) => k.layerNorm(x, w, b, 1e-5), [
    ...[none(), randomTensor([8], 1), randomTensor([8], 2)],
  ]);
  await assertNothing("gelu", (x) => k.gelu(x), [none()]);
  await assertNothing("swiglu", (gate, up) => k.swiglu(gate, up), [none(), none()]);
  await assertNothing("gatherRows", (x) => k.gatherRows(x, new Int32Array(0)), [weight()]);
  await assertNothing("dropout", (x) => k.dropout(x, 0.5, 1), [none()]);
});

kernelTest("attention of no queries has no values, and gradients of zero", async (k) => {
  const heads = (T: number, seed: number) =>
    T === 0 ? tf.zeros([1, 0, 2, 8]) : randomTensor([1, T, 2, 8], seed);
  await assertNothing(
    "attention",
    (q, k_, v) =>
      k.attention(q as tf.Tensor4D, k_ as tf.Tensor4D, v as tf.Tensor4D, null) as tf.Tensor,
    [heads(0, 1), heads(3, 2), heads(3, 3)],
  );
});
