import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { findBlas } from "../../../src/device/products/blas.ts";
import { initBackend } from "../../../src/device/backend.ts";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import { wasmGemm } from "../../../src/ops/wasm/product/gemm.ts";
import { kernelModule } from "../../../src/ops/wasm/runtime/install.ts";
import { loadKernelModule } from "../../../src/ops/wasm/runtime/module.ts";
import { RandomStream } from "../../../src/random.ts";
import { assertClose } from "../assert_close.ts";

function randomArray(size: number, seed: number): Float32Array {
  const stream = new RandomStream(seed, "test");
  return Float32Array.from({ length: size }, () => stream.nextFloat() * 2 - 1);
}

/** c[i, j] = Σ a[i, p] b[p, j] in float64. */
function matMulOracle(
  [m, n, k]: [number, number, number],
  a: Float32Array,
  b: Float32Array,
  transposeA: boolean,
  transposeB: boolean,
): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) {
        sum += a[transposeA ? p * m + i : i * k + p] * b[transposeB ? j * k + p : p * n + j];
      }
      c[i * n + j] = sum;
    }
  }
  return c;
}

const SIZES: [number, number, number][] = [
  [1, 1, 1],
  [1, 65, 63],
  [2, 3, 17],
  [3, 130, 1],
  [4, 7, 65],
  [5, 33, 3],
  [7, 9, 130],
  [8, 63, 64],
  [17, 17, 17],
  [63, 65, 130],
  [65, 63, 300],
  [130, 17, 63],
  [97, 520, 257],
  [65, 1030, 600],
  [301, 130, 257],
  [130, 301, 257],
];

Deno.test("the wasm product equals a plain loop for every size and transpose", async () => {
  await initBackend({ backend: "wasm" });
  assert(kernelModule() !== null);
  for (const [m, n, k] of SIZES) {
    const a = randomArray(m * k, 1);
    const b = randomArray(n * k, 2);
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const c = tf.tidy(() =>
          tf.matMul(
            tf.tensor2d(a, transposeA ? [k, m] : [m, k]),
            tf.tensor2d(b, transposeB ? [n, k] : [k, n]),
            transposeA,
            transposeB,
          ).dataSync()
        );
        const name = `[${m}, ${n}, ${k}] ${transposeA} ${transposeB}`;
        assertClose(c, matMulOracle([m, n, k], a, b, transposeA, transposeB), 2e-5, name);
      }
    }
  }
});

Deno.test("the kernels' own product and the BLAS equal a plain loop, = and +=, at every stride", async () => {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap();
  assert(heap !== null);
  const blas = findBlas();
  if ("reason" in blas) console.error(`The BLAS is not tested: ${blas.reason}`);
  const products = [
    wasmGemm(loadKernelModule(heap)),
    ..."library" in blas ? [wasmGemm(loadKernelModule(heap, { blas }))] : [],
  ];
  for (const [m, n, k] of SIZES) {
    const a = randomArray(m * k, 1);
    const b = randomArray(n * k, 2);
    const pad = 3; // Rows of c further apart than they are long: what lies between must stay.
    const [aAt, bAt, cAt] = [m * k, n * k, m * (n + pad)].map((size) => heap.malloc(size * 4));
    for (const [which, gemm] of products.entries()) {
      for (const transposeA of [false, true]) {
        for (const transposeB of [false, true]) {
          const c = new Float32Array(heap.memory.buffer, cAt, m * (n + pad)).fill(7);
          new Float32Array(heap.memory.buffer, aAt, m * k).set(a);
          new Float32Array(heap.memory.buffer, bAt, n * k).set(b);
          const oracle = matMulOracle([m, n, k], a, b, transposeA, transposeB);
          for (const accumulate of [false, true]) {
            // deno-fmt-ignore
            gemm({
              batch: 1, m, n, k, a: aAt, b: bAt, c: cAt, accumulate, aBatch: 0, bBatch: 0, cBatch: 0,
              aRow: transposeA ? 1 : k, aColumn: transposeA ? m : 1,
              bRow: transposeB ? 1 : n, bColumn: transposeB ? k : 1, cRow: n + pad,
            });
            const name = `product ${which} [${m}, ${n}, ${k}] ${transposeA} ${transposeB}`;
            const got = Float64Array.from(
              oracle,
              (_, i) => c[Math.floor(i / n) * (n + pad) + i % n],
            );
            assertClose(got, oracle.map((x) => x * (accumulate ? 2 : 1)), 2e-5, name);
            assert(c.every((x, i) => i % (n + pad) < n || x === 7), `${name} writes between rows`);
          }
        }
      }
    }
    for (const address of [aAt, bAt, cAt]) heap.free(address);
  }
});

Deno.test("the wasm product broadcasts batch dims", async () => {
  await initBackend({ backend: "wasm" });
  const shapes: [number[], number[]][] = [
    [[2, 3, 5, 7], [2, 3, 7, 4]],
    [[2, 3, 5, 7], [7, 4]],
    [[2, 1, 5, 7], [1, 3, 7, 4]],
    [[5, 7], [6, 7, 4]],
    [[4, 1, 7], [4, 7, 9]],
    [[2, 1, 3, 5, 7], [4, 1, 7, 4]],
  ];
  for (const [aShape, bShape] of shapes) {
    const outer = tf.broadcast_util.assertAndGetBroadcastShape(
      aShape.slice(0, -2),
      bShape.slice(0, -2),
    );
    const [m, k] = aShape.slice(-2);
    const n = bShape[bShape.length - 1];
    for (const transposeA of [false, true]) {
      tf.tidy(() => {
        const a = tf.tensor(
          randomArray(aShape.reduce((x, y) => x * y), 3),
          transposeA ? [...aShape.slice(0, -2), k, m] : aShape,
        );
        const b = tf.tensor(randomArray(bShape.reduce((x, y) => x * y), 4), bShape);
        const c = tf.matMul(a, b, transposeA, false);
        assertEquals(c.shape, [...outer, m, n]);
        const wide = (x: tf.Tensor) =>
          tf.broadcastTo(x, [...outer, ...x.shape.slice(-2)]).dataSync();
        const [allA, allB] = [wide(a), wide(b)] as Float32Array[];
        const oracle: number[] = [];
        for (let i = 0; i < c.size / (m * n); i++) {
          const left = allA.subarray(i * m * k, (i + 1) * m * k);
          const right = allB.subarray(i * n * k, (i + 1) * n * k);
          oracle.push(...matMulOracle([m, n, k], left, right, transposeA, false));
        }
        assertClose(c.dataSync(), oracle, 1e-5, `[${aShape}] x [${bShape}]`);
      });
    }
  }
});

Deno.test("the fused product adds a bias, and leaves activations to tfjs", async () => {
  const a = randomArray(9 * 7, 5);
  const b = randomArray(7 * 6, 6);
  const bias = randomArray(6, 7);
  for (const activation of ["linear", "relu"] as const) {
    const run = () =>
      tf.tidy(() =>
        tf.fused.matMul({
          a: tf.tensor2d(a, [9, 7]),
          b: tf.tensor2d(b, [7, 6]),
          bias: tf.tensor1d(bias),
          activation,
        }).dataSync()
      );
    await initBackend({ backend: "wasm" });
    const ours = run();
    await initBackend({ backend: "cpu" });
    assertClose(ours, run(), 1e-5, activation);
  }
});

Deno.test("gradients of tf.matMul on the wasm backend leave no tensors behind", async () => {
  await initBackend({ backend: "wasm" });
  const x = tf.tensor2d(randomArray(33 * 17, 8), [33, 17]);
  const w = tf.tensor2d(randomArray(9 * 17, 9), [9, 17]);
  const step = () => {
    const [dx, dw] = tf.grads((x: tf.Tensor, w: tf.Tensor) => tf.matMul(x, w, false, true).sum())([
      x,
      w,
    ]);
    tf.dispose([dx, dw]);
  };
  step();
  const { numTensors, numBytes } = tf.memory();
  for (let i = 0; i < 20; i++) step();
  assertEquals([tf.memory().numTensors, tf.memory().numBytes], [numTensors, numBytes]);
  tf.dispose([x, w]);
});

Deno.test("what is no float32 is left to tfjs's own product, which says what it lacks", async () => {
  await initBackend({ backend: "wasm" });
  tf.tidy(() => {
    const a = tf.tensor2d([1, 2, 3, 4], [2, 2], "int32");
    for (const multiply of [tf.matMul, (x: tf.Tensor2D) => tf.fused.matMul({ a: x, b: x })]) {
      assertThrows(() => multiply(a, a), Error, "float32");
    }
  });
});
