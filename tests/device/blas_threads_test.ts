import { assert, assertEquals } from "@std/assert";
import { findBlas } from "../../src/device/blas.ts";
import { runSgemm, type Sgemm, startBlasThreads } from "../../src/device/blas_threads.ts";
import { RandomStream } from "../../src/random.ts";

const blas = findBlas();
if ("reason" in blas) console.error(`BLAS tests are skipped: ${blas.reason}`);

function address(array: Float32Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(array));
}

Deno.test({
  name: "products on several threads are near those on one, and the same bits every time",
  ignore: "reason" in blas,
  async fn() {
    if ("reason" in blas) return;
    const threads = startBlasThreads(blas.library, blas.sgemm, 3);
    assertEquals(threads.count, 3);
    await new Promise((resolve) => setTimeout(resolve, 500)); // So that they are up, mostly.
    const random = new RandomStream(1, "test");
    const size = 200 * 200;
    const [a, b] = [1, 2].map(() => Float32Array.from({ length: size }, () => random.nextFloat()));
    const results = [1, 2, 3].map(() => new Float32Array(size));
    for (let round = 0; round < 300; round++) {
      const [m, n, k] = [1, 2, 3].map(() => 1 + Math.floor(random.nextFloat() * 199));
      const transposeA = random.nextFloat() < 0.5;
      const transposeB = random.nextFloat() < 0.5;
      const accumulate = random.nextFloat() < 0.5;
      const product = (c: Float32Array<ArrayBuffer>): Sgemm => ({
        transposeA,
        transposeB,
        m,
        n,
        k,
        a: address(a),
        lda: transposeA ? m : k,
        b: address(b),
        ldb: transposeB ? k : n,
        accumulate,
        c: address(c),
        ldc: 200,
      });
      for (const c of results) c.fill(3);
      runSgemm(blas.sgemm, product(results[0]));
      threads.run(product(results[1]));
      threads.run(product(results[2]));
      assertEquals(results[2], results[1], `round ${round}: bits depend on timing`);
      results[0].forEach((value, i) =>
        assert(
          Math.abs(value - results[1][i]) <= 1e-5 * k,
          `round ${round}, [${m}, ${n}, ${k}], value ${i}: ${results[1][i]}, alone ${value}`,
        )
      );
    }
  },
});
