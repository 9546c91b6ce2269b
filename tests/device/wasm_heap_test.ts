import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { OutOfMemoryError } from "../../src/device/out_of_memory.ts";
import { wasmHeap } from "../../src/device/wasm_heap.ts";

Deno.test("the wasm heap is the memory that tensors live in", async () => {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap();
  assert(heap !== null);
  const x = tf.tensor1d([1, 2, 3]);
  const { memoryOffset } = heap.backend.dataIdMap.get(x.dataId);
  assertEquals([...new Float32Array(heap.memory.buffer, memoryOffset, 3)], [1, 2, 3]);
  x.dispose();
});

Deno.test("starting wasm restores WebAssembly.instantiate", async () => {
  await initBackend({ backend: "wasm" });
  assert(/native code/.test(Function.prototype.toString.call(WebAssembly.instantiate)));
});

Deno.test("a tensor that the wasm heap cannot hold fails with numbers and a way out", async () => {
  await initBackend({ backend: "wasm" });
  const { numBytes, numTensors } = tf.memory();
  const error = assertThrows(() => tf.tidy(() => tf.add(tf.zeros([2 ** 30]), 1)), OutOfMemoryError);
  assert(error instanceof OutOfMemoryError);
  assertEquals(error.wantedBytes, 2 ** 32);
  assert(error.message.includes("4096.0 MiB") && error.message.includes("Lower"), error.message);
  assert(tf.memory().numTensors <= numTensors + 1);
  assert(numBytes >= 0);
  // The heap still works.
  assertEquals([...tf.tidy(() => tf.add(tf.tensor1d([1]), 1).dataSync())], [2]);
});

Deno.test("the wasm heap gives aligned blocks and takes them back", async () => {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap();
  assert(heap !== null);
  const before = heap.memory.buffer.byteLength;
  for (let i = 0; i < 100; i++) {
    const address = heap.malloc(1 << 20);
    assertEquals(address % 16, 0);
    heap.free(address);
  }
  assert(heap.memory.buffer.byteLength <= before + (4 << 20));
});
