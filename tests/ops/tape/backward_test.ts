import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import "../../../src/ops/wasm/runtime/install.ts";
import { assertClose } from "../assert_close.ts";

const x = (): tf.Tensor2D => tf.tensor2d([[1, -2], [3, 0.5]]);

Deno.test("valueAndGradients() gives what tf.grads gives, tensors that are used twice included", async () => {
  for (const backend of ["cpu", "wasm"] as const) {
    await initBackend({ backend });
    const [a, b] = [x(), tf.tensor2d([[2, 1], [0, -1]])];
    const f = (a: tf.Tensor, b: tf.Tensor): tf.Tensor => {
      const y = tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D).add(a).tanh();
      return y.mul(y).add(a.mul(b)).sum();
    };
    const before = tf.memory().numTensors;
    const { value, gradients } = valueAndGradients(() => f(a, b), [a, b]);
    assertEquals(tf.memory().numTensors, before + 3);
    const oracles = tf.grads(f)([a, b]);
    assertClose(value.dataSync(), f(a, b).dataSync(), 1e-6, "value");
    gradients.forEach((gradient, i) =>
      assertClose(gradient!.dataSync(), oracles[i].dataSync(), 1e-6, `gradient ${i}`)
    );
    tf.disposeVariables();
    tf.dispose([a, b, value, gradients as tf.Tensor[], oracles]);
  }
});

Deno.test("valueAndGradients() takes a gradient of the value", async () => {
  await initBackend({ backend: "cpu" });
  const a = x();
  const dy = tf.tensor2d([[1, 2], [3, 4]]);
  const { gradients } = valueAndGradients(() => a.square() as tf.Tensor, [a], dy);
  assertEquals([...gradients[0]!.dataSync()], [2, -8, 18, 4]);
  assertEquals([...dy.dataSync()], [1, 2, 3, 4]); // dy is the caller's still.
});

Deno.test("valueAndGradients() gives null for what the value does not depend on", async () => {
  await initBackend({ backend: "cpu" });
  const [a, b] = [x(), x()];
  const { gradients } = valueAndGradients(() => a.sum(), [a, b, a]);
  assertEquals(gradients[1], null);
  assertEquals([...gradients[2]!.dataSync()], [1, 1, 1, 1]);
});

Deno.test("valueAndGradients() goes through customGrad and through itself", async () => {
  await initBackend({ backend: "wasm" });
  const a = x();
  // A block that is computed again in the backward pass, as gradient checkpointing does it.
  const block = tf.customGrad((a, save) => {
    const input = a as tf.Tensor;
    (save as tf.GradSaveFunc)([input]);
    return {
      value: tf.tidy(() => input.exp()),
      gradFunc: (dy, [saved]) =>
        valueAndGradients(() => saved.exp() as tf.Tensor, [saved], dy as tf.Tensor).gradients[0]!,
    };
  });
  const step = () => {
    const { value, gradients } = valueAndGradients(() => block(block(a).mul(0.1)).sum(), [a]);
    const values = gradients[0]!.dataSync();
    tf.dispose([value, gradients[0]!]);
    return values;
  };
  const oracle = tf.tidy(() => tf.grad((a) => a.exp().mul(0.1).exp().sum())(a).dataSync());
  assertClose(step(), oracle, 1e-6, "nested");
  const before = tf.memory().numTensors;
  for (let i = 0; i < 5; i++) step();
  assertEquals(tf.memory().numTensors, before);
  a.dispose();
});

Deno.test("valueAndGradients() leaks nothing if the function throws", async () => {
  await initBackend({ backend: "cpu" });
  const a = x();
  const before = tf.memory().numTensors;
  assertThrows(
    () =>
      valueAndGradients(() => {
        a.exp().mul(a);
        throw new Error("no");
      }, [a]),
    Error,
    "no",
  );
  assertEquals(tf.memory().numTensors, before);
  const { value, gradients } = valueAndGradients(() => a.sum(), [a]);
  tf.dispose([value, gradients[0]!]);
});

Deno.test("valueAndGradients() holds less at its peak than tf.grads does", async () => {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap()!;
  const a = tf.ones([64, 1024]);
  const f = (a: tf.Tensor): tf.Tensor => {
    let y = a;
    for (let i = 0; i < 20; i++) y = y.mul(1.01).tanh();
    return y.sum();
  };
  let peak = 0;
  const malloc = heap.backend.wasm._malloc;
  heap.backend.wasm._malloc = (bytes) => {
    peak = Math.max(peak, heap.usedBytes() + bytes);
    return malloc(bytes);
  };
  const ours = valueAndGradients(() => f(a), [a]);
  const ourPeak = peak;
  peak = 0;
  const theirs = tf.grad(f)(a);
  heap.backend.wasm._malloc = malloc;
  assertClose(ours.gradients[0]!.dataSync(), theirs.dataSync(), 1e-6, "gradient");
  assert(ourPeak < 0.7 * peak, `${ourPeak} against ${peak}`);
  tf.dispose([a, ours.value, ours.gradients[0]!, theirs]);
});
