import { assert, assertEquals, assertThrows } from "@std/assert";
import { findBlas } from "../../src/device/blas.ts";
import { initBackend } from "../../src/device/backend.ts";
import { type WasmHeap, wasmHeap } from "../../src/device/wasm_heap.ts";
import { type Gemm, wasmGemm } from "../../src/ops/wasm/gemm.ts";
import { pieces } from "../../src/ops/wasm/gemm_parts.ts";
import { startKernelThreads } from "../../src/ops/wasm/kernel_threads.ts";
import { type KernelModule, loadKernelModule } from "../../src/ops/wasm/module.ts";
import { RandomStream } from "../../src/random.ts";

async function sharedHeap(): Promise<WasmHeap | null> {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap();
  assert(heap !== null);
  return heap.shared ? heap : null;
}

/** The heap, or null with a line that says why a test does nothing. */
async function heapOrReason(): Promise<WasmHeap | null> {
  const heap = await sharedHeap();
  if (heap === null) console.error("Not tested: one core, or NANOVLM_THREADS=1.");
  return heap;
}

/** So that the threads are up, mostly. */
const threadsAreUp = () => new Promise((resolve) => setTimeout(resolve, 500));

function fillRandom(heap: WasmHeap, address: number, size: number, seed: number): void {
  const random = new RandomStream(seed, "test");
  const values = new Float32Array(heap.memory.buffer, address, size);
  for (let i = 0; i < size; i++) values[i] = random.nextFloat() * 2 - 1;
}

/** Large enough to be cut, most of them, and with odd ends. */
const SIZES: [number, number, number][] = [
  [2048, 128, 17],
  [97, 520, 257],
  [520, 97, 257],
  [8, 1030, 600],
  [9, 1030, 600],
  [3, 2050, 500],
  [1, 3001, 1000],
  [65, 1031, 130],
  [1031, 66, 130],
  [111, 113, 700],
  [331, 1, 7000],
  [40, 40, 40],
];

/** Values of the largest operand. */
const LARGEST = Math.max(...SIZES.flatMap(([m, n, k]) => [m * n + 5, m * k, n * k]));

function products([m, n, k]: [number, number, number], at: number[]): Gemm[] {
  const [a, b, c] = at;
  const all: Gemm[] = [];
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      for (const accumulate of [false, true]) {
        // deno-fmt-ignore
        all.push({
          batch: 1, m, n, k, a, b, c, accumulate, aBatch: 0, bBatch: 0, cBatch: 0,
          aRow: transposeA ? 1 : k, aColumn: transposeA ? m : 1,
          bRow: transposeB ? 1 : n, bColumn: transposeB ? k : 1, cRow: n,
        });
      }
    }
  }
  return all;
}

Deno.test("pieces() covers a length once, and none is small but where all is", () => {
  for (const length of [0, 1, 15, 16, 17, 31, 32, 33, 100, 2048]) {
    for (const [step, least] of [[32, 16], [8, 1], [1, 1]]) {
      const cuts = pieces(length, step, least);
      let end = 0;
      for (const [start, size] of cuts) {
        assertEquals(start, end);
        end += size;
        assert(size >= Math.min(least, length), `${size} of ${length}`);
      }
      assertEquals(end, length);
    }
  }
});

Deno.test("products on any number of threads have the bits of one thread", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  const modules = [1, 2, 3, 5].map((threads) => loadKernelModule(heap, { threads }));
  const at = [0, 1, 2].map(() => heap.malloc(4 * LARGEST));
  fillRandom(heap, at[0], LARGEST, 1);
  fillRandom(heap, at[1], LARGEST, 2);
  for (const module of modules) {
    wasmGemm(module)(products([520, 97, 257], at)[0]); // Starts the threads.
  }
  assertEquals(modules.map((module) => module.startedThreads), [0, 1, 2, 4]);
  await threadsAreUp();
  for (const size of SIZES) {
    const [m, n] = size;
    for (const [variant, product] of products(size, at).entries()) {
      const results = modules.map((module) => {
        const c = new Float32Array(heap.memory.buffer, at[2], m * n + 5);
        c.forEach((_, i) => c[i] = i % 7);
        wasmGemm(module)(product);
        return c.slice();
      });
      for (const result of results) assertEquals(result, results[0], `[${size}], ${variant}`);
    }
  }
  for (const module of modules) module.stopThreads();
  for (const address of at) heap.free(address);
});

const blas = findBlas();

Deno.test({
  name: "a BLAS on several threads is near the one on one, and the same bits every time",
  ignore: "reason" in blas,
  async fn() {
    const heap = await heapOrReason();
    if (heap === null || "reason" in blas) return;
    const modules = [1, 4].map((threads) => loadKernelModule(heap, { blas, threads }));
    const at = [0, 1, 2].map(() => heap.malloc(4 * LARGEST));
    fillRandom(heap, at[0], LARGEST, 1);
    fillRandom(heap, at[1], LARGEST, 2);
    wasmGemm(modules[1])(products([520, 97, 257], at)[0]);
    await threadsAreUp();
    for (const size of SIZES) {
      const [m, n, k] = size;
      for (const [variant, product] of products(size, at).entries()) {
        const [alone, first, second] = [modules[0], modules[1], modules[1]].map((module) => {
          const c = new Float32Array(heap.memory.buffer, at[2], m * n + 5);
          c.forEach((_, i) => c[i] = i % 7);
          wasmGemm(module)(product);
          return c.slice();
        });
        assertEquals(second, first, `[${size}], ${variant}: bits depend on timing`);
        alone.forEach((value, i) =>
          assert(Math.abs(value - first[i]) <= 1e-5 * k, `[${size}], ${variant}, ${i}`)
        );
      }
    }
    modules[1].stopThreads();
    for (const address of at) heap.free(address);
  },
});

Deno.test("threads reach what the heap has grown by since they started", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  const module = loadKernelModule(heap, { threads: 3 });
  const small = heap.malloc(1024);
  module.runParts("nano_fill", [[128, small, 1], [128, small + 512, 1]]);
  await threadsAreUp();
  for (let round = 0; round < 4; round++) {
    const before = heap.memory.buffer.byteLength;
    const size = before / 4 + (1 << 20);
    const large = heap.malloc(4 * size);
    assert(heap.memory.buffer.byteLength > before);
    const cuts = pieces(size, Math.ceil(size / 16));
    module.runParts("nano_fill", cuts.map(([start, count]) => [count, large + start * 4, round]));
    const values = new Float32Array(heap.memory.buffer, large, size);
    for (let i = 0; i < size; i += 1000) assertEquals(values[i], round);
    assertEquals(values[size - 1], round);
    heap.free(large);
    if (before > 1 << 27) break;
  }
  module.stopThreads();
  heap.free(small);
});

Deno.test("a kernel that fails in some thread throws, and the next one runs", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  const module = loadKernelModule(heap, { threads: 2 });
  const at = heap.malloc(1024);
  const beyond = 2 ** 32 - 1024;
  assertThrows(
    () => module.runParts("nano_fill", [[128, beyond, 1], [128, at, 1]]),
    Error,
    "failed",
  );
  module.runParts("nano_fill", [[128, at, 2], [128, at + 512, 3]]);
  assertEquals([...new Float32Array(heap.memory.buffer, at + 508, 2)], [2, 3]);
  module.stopThreads();
  heap.free(at);
});

/** A module with env.memory whose export "spin" never returns. */
function endlessModule(): WebAssembly.Module {
  const section = (id: number, ...content: number[]) => [id, content.length, ...content];
  const name = (text: string) => [text.length, ...new TextEncoder().encode(text)];
  // deno-fmt-ignore
  return new WebAssembly.Module(new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0,
    ...section(1, 1, 0x60, 0, 0),
    ...section(2, 1, ...name("env"), ...name("memory"), 2, 3, 1, 128, 128, 4),
    ...section(3, 1, 0),
    ...section(6, 1, 0x7f, 1, 0x41, 0, 0x0b),
    ...section(7, 2, ...name("spin"), 0, 0, ...name("__stack_pointer"), 3, 0),
    ...section(10, 1, 7, 0, 3, 0x40, 0x0c, 0, 0x0b, 0x0b),
  ]));
}

Deno.test("a thread that does not come back is given up: an error, and then our own thread alone", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  let calls = 0;
  const spin = () => {
    calls++;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    return 0;
  };
  const threads = startKernelThreads({ spin }, {
    memory: heap.memory,
    code: endlessModule(),
    stacks: [1024],
    blas: null,
    patienceMs: 200,
  });
  assertEquals(threads.count, 2);
  await threadsAreUp();
  assertThrows(() => threads.run("spin", [[], [], []]), Error, "does not answer");
  assertEquals(calls, 2);
  assertEquals(threads.count, 1);
  threads.run("spin", [[], []]);
  assertEquals(calls, 4);
  threads.stop();
});

Deno.test("work runs on our own thread once the others have been stopped", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  const module: KernelModule = loadKernelModule(heap, { threads: 3 });
  const at = heap.malloc(1024);
  module.runParts("nano_fill", [[128, at, 1], [128, at + 512, 1]]);
  module.stopThreads();
  module.runParts("nano_fill", [[128, at, 4], [128, at + 512, 5]]);
  assertEquals([...new Float32Array(heap.memory.buffer, at + 508, 2)], [4, 5]);
  heap.free(at);
});

/** Multiplies in a process of its own; prints threads asked for, threads started, and a value. */
async function multiplyElsewhere(threads: string, permissions: string[]): Promise<string> {
  const root = new URL("../../", import.meta.url).href;
  const script = `
    import * as tf from "@tensorflow/tfjs";
    import { initBackend } from "${root}src/device/backend.ts";
    import { kernelModule } from "${root}src/ops/wasm/install.ts";
    await initBackend({ backend: "wasm" });
    const x = tf.ones([300, 300]);
    let y = tf.matMul(x, x, false, true);
    await new Promise((resolve) => setTimeout(resolve, 300));
    y = tf.matMul(x, x, true, false);
    const { threads, startedThreads } = kernelModule();
    console.log(threads, startedThreads, y.dataSync()[77]);
  `;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, script);
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--config", config, ...permissions, file],
      env: { NANOVLM_THREADS: threads, NANOVLM_BLAS: "0", NO_COLOR: "1" },
      stdin: "null",
      signal: AbortSignal.timeout(60_000),
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim();
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("a process with threads ends by itself, and NANOVLM_THREADS=1 starts none", async () => {
  const permissions = ["--allow-read", "--allow-env"];
  assertEquals(await multiplyElsewhere("3", permissions), "3 2 300");
  assertEquals(await multiplyElsewhere("1", permissions), "1 0 300");
});
