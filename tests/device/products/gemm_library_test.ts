import { assert } from "@std/assert";
import { openGemmLibraries } from "../../../src/device/products/gemm_library.ts";
import { sgemmOnHeap } from "../../../src/device/products/blas.ts";

const libraries = openGemmLibraries(null);
if (libraries.length === 0) console.error("No library for products is tested: none is installed");

const random = (size: number, seed: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(seed + i * 12.9898) * 2);

for (const [{ name, file }, sgemm] of libraries) {
  Deno.test(`${name} (${file}) multiplies like a plain loop, for every transpose, = and +=`, () => {
    for (const [m, n, k] of [[1, 1, 1], [3, 5, 7], [8, 17, 33], [65, 64, 63]]) {
      for (const [tA, tB] of [[false, false], [true, false], [false, true], [true, true]]) {
        for (const accumulate of [0, 1]) {
          const heap = new Float32Array(m * k + k * n + m * n);
          const a = random(m * k, 1), b = random(k * n, 2), before = random(m * n, 3);
          heap.set(a);
          heap.set(b, a.length);
          heap.set(before, a.length + b.length);
          const base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(heap));
          // deno-fmt-ignore
          const ran = sgemmOnHeap(
            sgemm, base, m, n, k, 0, tA ? 1 : k, tA ? m : 1, 4 * a.length, tB ? 1 : n, tB ? k : 1,
            4 * (a.length + b.length), n, accumulate,
          );
          assert(ran === 1);
          for (let i = 0; i < m; i++) {
            for (let j = 0; j < n; j++) {
              let sum = accumulate * before[i * n + j];
              for (let p = 0; p < k; p++) {
                sum += a[tA ? p * m + i : i * k + p] * b[tB ? j * k + p : p * n + j];
              }
              const got = heap[a.length + b.length + i * n + j];
              assert(
                Math.abs(got - sum) <= 1e-5 * (k + 1),
                `[${m}, ${n}, ${k}] ${tA} ${tB} ${got}`,
              );
            }
          }
        }
      }
    }
  });
}
