import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { BufferPool } from "../../src/device/buffer_pool.ts";
import { assertNoGpuErrors } from "../../src/device/gpu_errors.ts";
import { allocatedGpuBytes, gpuBytes, peakGpuBytes } from "../../src/device/memory.ts";
import { gpuTest } from "../gpu_adapter.ts";

const MIB = 2 ** 20;
const USAGE = 128 | 4 | 8; // STORAGE, COPY_SRC, COPY_DST

/** A device whose buffers tell whether they were destroyed. */
function fakeDevice() {
  const live = new Set<object>();
  let made = 0;
  const createBuffer = ({ size, usage }: GPUBufferDescriptor) => {
    made++;
    const buffer = { size, usage, destroy: () => assert(live.delete(buffer), "destroyed twice") };
    live.add(buffer);
    return buffer;
  };
  return {
    live,
    made: () => made,
    device: { createBuffer } as unknown as GPUDevice,
  };
}

Deno.test("a pool gives a released buffer of that size and usage again, the last one first", () => {
  const { device, made } = fakeDevice();
  const pool = new BufferPool(device);
  const a = pool.acquireBuffer(64, USAGE), b = pool.acquireBuffer(64, USAGE);
  pool.releaseBuffer(a);
  pool.releaseBuffer(b);
  assertEquals([pool.numBytesUsed, pool.numBytesAllocated], [0, 128]);
  assertEquals([pool.getNumUsedBuffers(), pool.getNumFreeBuffers()], [0, 2]);
  assert(pool.acquireBuffer(64, 64) !== b);
  assert(pool.acquireBuffer(68, USAGE) !== b);
  assert(pool.acquireBuffer(64, USAGE, false, false) !== b);
  assert(pool.acquireBuffer(64, USAGE) === b);
  assert(pool.acquireBuffer(64, USAGE) === a);
  assertEquals(made(), 5);
  assertEquals(pool.getNumFreeBuffers(), 0);
});

Deno.test("a pool refuses a buffer that is not in use", () => {
  const pool = new BufferPool(fakeDevice().device);
  const a = pool.acquireBuffer(64, USAGE);
  pool.releaseBuffer(a);
  assertThrows(() => pool.releaseBuffer(a), Error, "not in use");
});

Deno.test("a buffer that is not to be used again is destroyed at once", () => {
  const { device, live } = fakeDevice();
  const pool = new BufferPool(device);
  pool.releaseBuffer(pool.acquireBuffer(64, USAGE, true, false), false);
  assertEquals(live.size, 0);
  assertEquals([pool.numBytesUsed, pool.numBytesAllocated], [0, 0]);
});

/** Acquires, then releases, then trims, as a step with one submission does. */
function step(pool: BufferPool, sizes: readonly number[]): void {
  const buffers = sizes.map((size) => pool.acquireBuffer(size, USAGE));
  for (const buffer of buffers) pool.releaseBuffer(buffer);
  pool.trim();
}

Deno.test("the same sizes step by step make no new buffer and destroy none", () => {
  const { device, made, live } = fakeDevice();
  const pool = new BufferPool(device);
  const sizes = Array.from({ length: 50 }, (_, i) => (i % 7 + 1) * MIB);
  for (let i = 0; i < 20; i++) step(pool, sizes);
  assertEquals([made(), live.size], [50, 50]);
});

Deno.test("new sizes in each step keep what is allocated near the peak in use", () => {
  const { device, live } = fakeDevice();
  const pool = new BufferPool(device);
  const weights = pool.acquireBuffer(100 * MIB, USAGE);
  for (let i = 0; i < 2000; i++) {
    step(pool, Array.from({ length: 10 }, (_, k) => 10 * MIB + 4 * (10 * i + k)));
    assert(pool.numBytesAllocated <= 1.25 * 201 * MIB, `step ${i}: ${pool.numBytesAllocated}`);
  }
  assert(live.has(weights));
  assertEquals(live.size, pool.getNumFreeBuffers() + 1);
  assertEquals(pool.numBytesUsed, 100 * MIB);
});

Deno.test("sizes that are asked for stay, and those that are not go first", () => {
  const { device, made } = fakeDevice();
  const pool = new BufferPool(device);
  step(pool, [40 * MIB, 60 * MIB]);
  step(pool, [40 * MIB]);
  step(pool, [50 * MIB, 40 * MIB]); // 150 MiB in all; the bound is 125.
  assertEquals(pool.numBytesAllocated, 90 * MIB);
  const before = made();
  step(pool, [40 * MIB, 50 * MIB]);
  assertEquals(made(), before);
});

Deno.test("nothing goes before trim(), and nothing that the last submission released", () => {
  const { device, live } = fakeDevice();
  const pool = new BufferPool(device);
  for (let i = 0; i < 10; i++) {
    pool.releaseBuffer(pool.acquireBuffer((100 + i) * MIB, USAGE));
  }
  assertEquals(live.size, 10);
  const last = [200, 201].map((size) => pool.acquireBuffer(size * MIB, USAGE));
  for (const buffer of last) pool.releaseBuffer(buffer);
  pool.trim();
  assert(last.every((buffer) => live.has(buffer)));
  assert(live.size < 12);
});

Deno.test("an old peak is forgotten", () => {
  const pool = new BufferPool(fakeDevice().device);
  step(pool, [1000 * MIB]);
  assertEquals(pool.numBytesAllocated, 1000 * MIB);
  for (let i = 0; i < 40_000; i++) step(pool, [MIB]);
  assertEquals(pool.numBytesAllocated, MIB);
});

Deno.test("dispose() destroys everything, and what is released later is not missed", () => {
  const { device, live } = fakeDevice();
  const pool = new BufferPool(device);
  const a = pool.acquireBuffer(64, USAGE);
  pool.releaseBuffer(pool.acquireBuffer(128, USAGE));
  pool.dispose();
  assertEquals(live.size, 0);
  pool.releaseBuffer(a);
  assertEquals([pool.numBytesUsed, pool.numBytesAllocated], [0, 0]);
});

gpuTest(
  "on a device, lengths that change leave what is allocated level, and values right",
  async () => {
    const backend = await initBackend({ backend: "webgpu" });
    for (let i = 0; i < 30; i++) {
      const length = 2 ** 20 + 64 * i; // 4 MiB a tensor, a new size each time
      const y = tf.tidy(() => tf.fill([length], i).add(1).mul(2).slice(0, 8));
      assertEquals([...await y.data()], Array(8).fill(2 * (i + 1)));
      y.dispose();
    }
    assert(peakGpuBytes() > 2 ** 23 && peakGpuBytes() < 48 * MIB, `${peakGpuBytes()}`);
    assert(allocatedGpuBytes() < peakGpuBytes() + 17 * MIB, `${allocatedGpuBytes()}`);
    assert(gpuBytes() < MIB, `${gpuBytes()}`);
    assertNoGpuErrors();
    backend.dispose();
    assertEquals([gpuBytes(), allocatedGpuBytes()], [0, 0]);
  },
);
