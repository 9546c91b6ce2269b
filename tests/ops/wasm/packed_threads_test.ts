import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import { fusedLinear } from "../../../src/ops/fused_linear.ts";
import { PackedWeight } from "../../../src/ops/half/packed_weight.ts";
import { wasmGemm } from "../../../src/ops/wasm/product/gemm.ts";
import { linearKernels } from "../../../src/ops/wasm/product/linear.ts";
import { loadKernelModule } from "../../../src/ops/wasm/runtime/module.ts";

const values = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(1.3 * i));

Deno.test("products with frozen 16-bit weights on several threads have the bits of one", async () => {
  await initBackend({ backend: "wasm" });
  const heap = wasmHeap();
  assert(heap !== null);
  if (!heap.shared) {
    console.error("Not tested: one core, or NANOVLM_THREADS=1.");
    return;
  }
  const modules = [1, 3].map((threads) => loadKernelModule(heap, { threads }));
  const [O, I] = [2_051, 333];
  for (const format of ["BF16", "F16"] as const) {
    // Not multiples of what a kernel takes at once.
    const bits = Uint16Array.from({ length: O * I }, (_, i) => (i * 40_503 >>> 3) & 0x3bff);
    const weight = new PackedWeight(bits, format, [O, I]);
    for (const rows of [1, 3, 37]) { // widened in registers, and in blocks
      const x = tf.tensor2d(values(rows * I), [rows, I]);
      const [want, got] = modules.map((module) => {
        const y = fusedLinear(linearKernels(module, wasmGemm(module)), x, weight);
        const values = Float32Array.from(y.dataSync<"float32">());
        y.dispose();
        return values;
      });
      assertEquals(
        new Uint32Array(got.buffer),
        new Uint32Array(want.buffer),
        `${format}, ${rows} rows`,
      );
      x.dispose();
    }
    weight.dispose();
  }
  assertEquals(modules[1].startedThreads, 2);
  modules[1].stopThreads();
});
