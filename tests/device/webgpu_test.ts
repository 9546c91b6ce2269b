import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { requestGpu, WANTED_LIMITS } from "../../src/device/adapter.ts";
import { initBackend } from "../../src/device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors, gpuErrors } from "../../src/device/gpu_errors.ts";
import { gpuBytes } from "../../src/device/memory.ts";
import { readBack } from "../../src/device/read_back.ts";
import { gpuTest } from "../gpu_adapter.ts";

gpuTest("requestGpu() makes a device with the adapter's own limits", async () => {
  const gpu = await requestGpu();
  assert("device" in gpu);
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  for (const name of WANTED_LIMITS) {
    assertEquals(gpu.device.limits[name], adapter?.limits[name], name);
    assertEquals(gpu.info.limits[name], gpu.device.limits[name], name);
  }
  for (const feature of gpu.info.features) {
    assert(gpu.device.features.has(feature as GPUFeatureName));
  }
  gpu.destroy();
});

gpuTest("an asynchronous error is recorded and thrown", async () => {
  clearGpuErrors();
  const gpu = await requestGpu();
  assert("device" in gpu);
  gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
  await gpu.device.queue.onSubmittedWorkDone();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(gpuErrors().map(({ kind }) => kind), ["validation"]);
  let thrown = "";
  try {
    assertNoGpuErrors();
  } catch (error) {
    thrown = String(error);
  }
  assert(thrown.includes("The GPU device reported 1 error(s)"), thrown);
  clearGpuErrors();
  gpu.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertNoGpuErrors(); // Our own destroy() is no loss.
});

gpuTest("tfjs computes on our device what the cpu backend computes", async () => {
  clearGpuErrors();
  const values = Float32Array.from({ length: 65 * 65 }, (_, i) => Math.sin(i));
  const run = async () => {
    const y = tf.tidy(() => {
      const x = tf.tensor2d(values, [65, 65]);
      return tf.matMul(x, x, false, true).softmax();
    });
    const [data] = await readBack([y]);
    y.dispose();
    return data;
  };
  const backend = await initBackend({ backend: "webgpu" });
  assertEquals(backend.name, "webgpu");
  assert(backend.adapterInfo !== null && backend.reason.includes(backend.adapterInfo.description));
  const got = await run();
  assertNoGpuErrors();
  backend.dispose();
  await initBackend({ backend: "cpu" });
  const want = await run();
  want.forEach((value, i) => assert(Math.abs(value - got[i]) < 1e-5, `${i}: ${got[i]}, ${value}`));
});

gpuTest("readBack() keeps order, shapes and types, and frees what it makes", async () => {
  const backend = await initBackend({ backend: "webgpu" });
  const tensors = tf.tidy(() => [
    tf.add(tf.tensor2d([[1, 2], [3, 4]]), 1),
    tf.tensor1d([7, 8], "int32"),
    tf.mul(tf.tensor1d([5, 6, 7]), 2),
    tf.tensor1d([true, false], "bool"),
    tf.scalar(9),
  ]);
  const before = tf.memory().numTensors;
  const arrays = await readBack(tensors);
  assertEquals(arrays.map((a) => [...a]), [[2, 3, 4, 5], [7, 8], [10, 12, 14], [1, 0], [9]]);
  assertEquals(tf.memory().numTensors, before);
  tf.dispose(tensors);
  backend.dispose();
});

gpuTest("live GPU bytes return to their level after repeated work", async () => {
  const backend = await initBackend({ backend: "webgpu" });
  const x = tf.randomNormal([64, 64]);
  const step = async () => {
    const y = tf.tidy(() => tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D).relu().sum());
    await y.data();
    y.dispose();
  };
  await step();
  const level = gpuBytes();
  assert(level >= 64 * 64 * 4);
  for (let i = 0; i < 20; i++) await step();
  assertEquals(gpuBytes(), level);
  assertNoGpuErrors();
  x.dispose();
  backend.dispose();
});
