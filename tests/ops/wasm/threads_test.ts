import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { findBlas } from "../../../src/device/products/blas.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { type WasmHeap, wasmHeap } from "../../../src/device/wasm_heap.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { fusedLinear } from "../../../src/ops/fused_linear.ts";
import { gelu, swiglu } from "../../../src/ops/wasm/activations.ts";
import { attention } from "../../../src/ops/wasm/attention.ts";
import { type Gemm, wasmGemm } from "../../../src/ops/wasm/product/gemm.ts";
import { startKernelThreads } from "../../../src/ops/wasm/runtime/kernel_threads.ts";
import { linearKernels } from "../../../src/ops/wasm/product/linear.ts";
import type { KernelModule } from "../../../src/ops/wasm/runtime/kernel_module.ts";
import { loadKernelModule } from "../../../src/ops/wasm/runtime/module.ts";
import { layerNorm, rmsNorm } from "../../../src/ops/wasm/norms.ts";
import { adamW } from "../../../src/ops/wasm/optimizer.ts";
import { pieces } from "../../../src/ops/wasm/runtime/pieces.ts";
import { randomRotation } from "../random_rotation.ts";

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

/** Fails if any bit differs. */
function assertSameBits(got: Float32Array, want: Float32Array, name: string): void {
  assertEquals(got.length, want.length, name);
  const bits = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);
  const [a, b] = [bits(got), bits(want)];
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) {
      throw new Error(`${name}: value ${i} is ${got[i]}, on one thread ${want[i]}`);
    }
  }
}

/** So that the threads are up, mostly. */
const threadsAreUp = () => new Promise((resolve) => setTimeout(resolve, 500));

function fillRandom(heap: WasmHeap, address: number, size: number, seed: number): void {
  new Float32Array(heap.memory.buffer, address, size).set(randomValues(size, seed));
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
      for (const result of results) assertSameBits(result, results[0], `[${size}], ${variant}`);
    }
  }
  for (const module of modules) module.stopThreads();
  for (const address of at) heap.free(address);
});

/** Values of an op and of the gradients of its inputs. */
function valuesAndGradients(
  op: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
): Float32Array[] {
  const tensors = tf.tidy(() => {
    const value = op(...inputs);
    const weights = tf.tensor(randomValues(value.size, 9), value.shape);
    const slopes = tf.grads((...x: tf.Tensor[]) => op(...x).mul(weights).sum())(inputs);
    return [value, ...slopes];
  });
  const values = tensors.map((tensor) => tensor.dataSync<"float32">());
  tf.dispose(tensors);
  return values;
}

/** Values from −2 to 2, without order enough. */
function randomValues(size: number, seed: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 2 * Math.sin(i * i * 0.37 + seed * (i + 1)));
}

Deno.test("fused ops on any number of threads have the bits of one thread", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  const tensor = (shape: number[], seed: number): tf.Tensor =>
    tf.tensor(randomValues(shape.reduce((x, y) => x * y), seed), shape);
  const layout = new AttentionLayout(
    3,
    70,
    70,
    Int32Array.of(0, 3, 9),
    Int32Array.of(20, 3, 30),
    Int32Array.from({ length: 210 }, (_, i) => i % 70 < 50 ? 20 : 50),
    Int32Array.from({ length: 210 }, (_, i) => i % 70 + 1),
  );
  const { rotation, dispose } = randomRotation([3, 70, 32], true);
  const attend = (module: KernelModule, layout: AttentionLayout | null) => (...x: tf.Tensor[]) =>
    attention(module, ...x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D], layout);
  const cases: [string, (module: KernelModule) => (...x: tf.Tensor[]) => tf.Tensor, number[][]][] =
    [
      ["attention", (m) => attend(m, null), [[9, 61, 4, 32], [9, 61, 2, 32], [9, 61, 2, 32]]],
      ["few rows", (m) => attend(m, layout), [[3, 70, 6, 32], [3, 70, 3, 32], [3, 70, 3, 32]]],
      ["one row", (m) => attend(m, null), [[1, 130, 5, 20], [1, 130, 5, 20], [1, 130, 5, 20]]],
      [
        "turned by angles",
        (m) => (q, k, v) =>
          attention(m, ...[q, k, v] as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D], layout, rotation),
        [[3, 70, 6, 32], [3, 70, 3, 32], [3, 70, 3, 32]],
      ],
      ["one query", (m) => attend(m, null), [[5, 1, 6, 64], [5, 900, 3, 64], [5, 900, 3, 64]]],
      ["gelu", (m) => (x) => gelu(m, x), [[301, 333]]],
      ["swiglu", (m) => (x, y) => swiglu(m, x, y), [[301, 333], [301, 333]]],
      ["RMS norm", (m) => (x, w) => rmsNorm(m, x, w, 1e-5), [[301, 333], [333]]],
      ["layer norm", (m) => (x, w, b) => layerNorm(m, x, w, b, 1e-5), [[301, 333], [333], [333]]],
      [
        "linear",
        (m) => (x, w, b) => fusedLinear(linearKernels(m, wasmGemm(m)), x, w, b),
        [[2, 301, 333], [130, 333], [130]],
      ],
      [
        "linear with a side branch and GELU",
        (m) => (x, w, b, loraA, loraB) => {
          const extras = { branch: { loraA, loraB, scaling: 0.7 }, gelu: true };
          return fusedLinear(linearKernels(m, wasmGemm(m)), x, w, b, extras);
        },
        [[2, 301, 333], [131, 333], [131], [17, 333], [131, 17]],
      ],
    ];
  const alone = loadKernelModule(heap);
  for (const threads of [2, 5]) {
    const module = loadKernelModule(heap, { threads });
    for (const [name, op, shapes] of cases) {
      const inputs = shapes.map((shape, i) => tensor(shape, i + 1));
      const want = valuesAndGradients(op(alone), inputs);
      for (let round = 0; round < 3; round++) {
        valuesAndGradients(op(module), inputs).forEach((values, i) =>
          assertSameBits(values, want[i], `${name}, ${threads} threads, tensor ${i}`)
        );
      }
      tf.dispose(inputs);
      assertEquals(module.startedThreads, threads - 1, name);
    }
    module.stopThreads();
  }
  dispose();
});

Deno.test("AdamW on several threads has the bits of one thread", async () => {
  const heap = await heapOrReason();
  if (heap === null) return;
  const numbers = {
    learningRate: 0.1,
    weightDecay: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    step: 3,
    gradientScale: 0.5,
  };
  const modules = [1, 3].map((threads) => loadKernelModule(heap, { threads }));
  const results = modules.map((module) => {
    const tensors = [1, 2, 3, 4].map((seed) =>
      tf.tensor1d(randomValues(100_003, seed).map(Math.abs))
    );
    const [parameter, gradient, first, second] = tensors;
    const moments = { firstMoment: first, secondMoment: second };
    assert(adamW(module, { parameter, gradient, ...moments, numbers }));
    const values = tensors.map((tensor) => tensor.dataSync<"float32">());
    tf.dispose(tensors);
    return values;
  });
  assertEquals(modules[1].startedThreads, 2);
  results[1].forEach((values, i) => assertSameBits(values, results[0][i], `tensor ${i}`));
  modules[1].stopThreads();
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
        assertSameBits(second, first, `[${size}], ${variant}, twice`);
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
  module.runParts("nano_fill", [{ n: 128, x: small, value: 1 }, {
    n: 128,
    x: small + 512,
    value: 1,
  }]);
  await threadsAreUp();
  for (let round = 0; round < 4; round++) {
    const before = heap.memory.buffer.byteLength;
    const size = before / 4 + (1 << 20);
    const large = heap.malloc(4 * size);
    assert(heap.memory.buffer.byteLength > before);
    const cuts = pieces(size, Math.ceil(size / 16));
    module.runParts(
      "nano_fill",
      cuts.map(([start, n]) => ({ n, x: large + start * 4, value: round })),
    );
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
    () =>
      module.runParts("nano_fill", [{ n: 128, x: beyond, value: 1 }, { n: 128, x: at, value: 1 }]),
    Error,
    "failed",
  );
  module.runParts("nano_fill", [{ n: 128, x: at, value: 2 }, { n: 128, x: at + 512, value: 3 }]);
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
  module.runParts("nano_fill", [{ n: 128, x: at, value: 1 }, { n: 128, x: at + 512, value: 1 }]);
  module.stopThreads();
  module.runParts("nano_fill", [{ n: 128, x: at, value: 4 }, { n: 128, x: at + 512, value: 5 }]);
  assertEquals([...new Float32Array(heap.memory.buffer, at + 508, 2)], [4, 5]);
  heap.free(at);
});

/** Multiplies in a process of its own; prints threads asked for, threads started, and a value. */
async function multiplyElsewhere(
  threads: string,
  permissions: string[],
  first = "",
): Promise<string> {
  const root = new URL("../../../", import.meta.url).href;
  const script = `
    import * as tf from "@tensorflow/tfjs";
    import { initBackend } from "${root}src/device/backend.ts";
    import { kernelModule } from "${root}src/ops/wasm/runtime/install.ts";
    ${first}
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
    const config = new URL("../../../deno.json", import.meta.url).pathname;
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

Deno.test("without SharedArrayBuffer the kernels run on one thread", async () => {
  const permissions = ["--allow-read", "--allow-env"];
  const first = "delete globalThis.SharedArrayBuffer;";
  assertEquals(await multiplyElsewhere("3", permissions, first), "1 0 300");
});

Deno.test("if no memory can be shared, tfjs's module starts unchanged, on one thread", async () => {
  const first = `
    const instantiate = WebAssembly.instantiate;
    WebAssembly.instantiate = async (source, imports) => {
      const result = await instantiate(source, imports);
      const { memory } = (result.instance ?? result).exports;
      if (memory?.buffer instanceof SharedArrayBuffer) throw new RangeError("no shared memory");
      return result;
    };`;
  assertEquals(
    await multiplyElsewhere("3", ["--allow-read", "--allow-env"], first),
    "1 0 300",
  );
});
