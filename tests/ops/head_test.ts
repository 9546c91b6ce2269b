import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { wasmHeap } from "../../src/device/wasm_heap.ts";
import { float32ToBfloat16 } from "../../src/ops/half/half_precision.ts";
import { headEntropy, headEntropyComposite } from "../../src/ops/head.ts";
import { PackedWeight } from "../../src/ops/half/packed_weight.ts";
import { type Precision, withPrecision } from "../../src/ops/half/precision.ts";
import { assertClose } from "./assert_close.ts";
import { randomTensor } from "./random_tensor.ts";

// N rows, C channels, V vocabulary
const SIZES = [[1, 1, 1], [1, 17, 63], [3, 5, 65], [63, 16, 1023], [65, 24, 1025], [193, 8, 130]];

/** H = −Σ p log p in doubles. */
function oracle(hidden: Float32Array, head: Float32Array, C: number, temperature: number) {
  const V = head.length / C;
  return Array.from({ length: hidden.length / C }, (_, n) => {
    const logits = Array.from({ length: V }, (_, v) => {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += hidden[n * C + c] * head[v * C + c];
      return sum / temperature;
    });
    const largest = Math.max(...logits);
    const total = logits.reduce((sum, z) => sum + Math.exp(z - largest), 0);
    return logits.reduce((sum, z) => {
      const p = Math.exp(z - largest) / total;
      return p === 0 ? sum : sum - p * Math.log(p);
    }, 0);
  });
}

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`headEntropy() equals a plain loop in doubles (${backend})`, async () => {
    await initBackend({ backend });
    for (const [N, C, V] of SIZES) {
      for (const temperature of [1, 0.3]) {
        tf.tidy(() => {
          const hidden = randomTensor([N, C], 1) as tf.Tensor2D;
          // Some distributions are flat, some nearly certain.
          const head = randomTensor([V, C], 2).mul(4) as tf.Tensor2D;
          const want = oracle(
            hidden.dataSync() as Float32Array,
            head.dataSync() as Float32Array,
            C,
            temperature,
          );
          const got = headEntropy(hidden, head, temperature);
          assertEquals(got.shape, [N]);
          assertClose(got.dataSync(), want, 3e-5, `[${N}, ${C}, ${V}] at ${temperature}`);
        });
      }
    }
  });
}

Deno.test("the kernel's entropies are those of the composite in 16-bit passes and of packed heads", async () => {
  await initBackend({ backend: "wasm" });
  for (const [N, C, V] of SIZES) {
    const hidden = randomTensor([N, C], 1) as tf.Tensor2D;
    const head = randomTensor([V, C], 2) as tf.Tensor2D;
    const bits = float32ToBfloat16(head.dataSync() as Float32Array);
    const packed = new PackedWeight(bits, "BF16", [V, C]);
    for (const weight of [head, packed]) {
      for (const precision of ["float32", "bf16", "fp16"] as Precision[]) {
        const before = tf.memory().numTensors;
        tf.tidy(() =>
          withPrecision(precision, () =>
            assertClose(
              headEntropy(hidden, weight, 0.7).dataSync(),
              headEntropyComposite(hidden, weight, 0.7).dataSync(),
              // A product that rounds another way is off by a step of its 16 bits.
              precision === "float32" ? 3e-5 : 5e-3,
              `[${N}, ${C}, ${V}] ${precision} ${weight === head ? "" : "packed"}`,
            ))
        );
        assertEquals(tf.memory().numTensors, before);
      }
    }
    tf.dispose([hidden, head]);
    packed.dispose();
  }
});

Deno.test("on wasm entropies take no room for logits", async () => {
  await initBackend({ backend: "wasm" });
  const [N, C, V] = [256, 16, 8192];
  const hidden = randomTensor([N, C], 1) as tf.Tensor2D;
  const head = randomTensor([V, C], 2) as tf.Tensor2D;
  headEntropy(hidden, head).dispose(); // Scratch stays.
  const { wasm } = wasmHeap()!.backend;
  const malloc = wasm._malloc;
  let bytes = 0;
  wasm._malloc = (size) => (bytes += size, malloc(size));
  headEntropy(hidden, head).dispose();
  wasm._malloc = malloc;
  assert(bytes <= 4 * 4 * N + 64, `${bytes}`);
  tf.dispose([hidden, head]);
});
