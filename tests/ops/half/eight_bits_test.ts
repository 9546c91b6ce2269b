import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { linear, linearComposite } from "../../../src/ops/linear.ts";
import { dequantize, quantize } from "../../../src/ops/half/eight_bits.ts";
import { PackedWeight } from "../../../src/ops/half/packed_weight.ts";
import { unpackWeight } from "../../../src/ops/half/unpack_weight.ts";
import { withPrecision } from "../../../src/ops/half/precision.ts";
import { gpuTest } from "../../gpu_adapter.ts";

/** The largest difference, relative to the largest number. */
function difference(a: Float32Array, b: Float32Array): number {
  let scale = 1, largest = 0;
  a.forEach((value, i) => {
    scale = Math.max(scale, Math.abs(value));
    largest = Math.max(largest, Math.abs(value - b[i]));
  });
  return largest / scale;
}

function values(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i) * (1 + i % 5));
}

Deno.test("a number in 8 bits is off by half a step at most, and the largest by nothing", () => {
  const numbers = values(320, 1);
  const words = quantize(numbers)!;
  assertEquals(words.length, 10 * 18);
  const again = dequantize(words);
  for (let block = 0; block < 10; block++) {
    const part = numbers.subarray(32 * block, 32 * (block + 1));
    const largest = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    part.forEach((value, i) => {
      const error = Math.abs(again[32 * block + i] - value);
      assert(error <= largest / 127 / 2 * 1.0001, `${error} of ${largest}`);
      if (Math.abs(value) === largest) assert(error <= largest * 1e-6);
    });
  }
  // Numbers that 8 bits hold exactly come back as they were.
  const whole = Float32Array.from({ length: 64 }, (_, i) => i % 32 === 0 ? 127 : i - 32);
  assertEquals(dequantize(quantize(whole)!), whole);
  assertEquals(dequantize(quantize(new Float32Array(32))!), new Float32Array(32));
});

Deno.test("numbers that are not finite are not rounded to 8 bits", () => {
  assertEquals(quantize(values(64, 1).fill(NaN, 40, 41)), null);
  assertEquals(quantize(values(64, 1).fill(-Infinity, 3, 4)), null);
});

/** Value and gradients of layers on 8-bit weights against the same on the numbers they stand for. */
async function compareLayers(): Promise<void> {
  for (const [rows, O, I] of [[1, 37, 96], [3, 64, 32], [7, 34, 160], [70, 130, 64]]) {
    const words = quantize(values(O * I, O))!;
    const weight = new PackedWeight(words, "Q8", [O, I]);
    assertEquals(weight.byteLength, O * I * 36 / 32);
    const wide = tf.tensor2d(dequantize(words), [O, I]);
    const unpacked = unpackWeight(weight);
    const [a, b] = await readBack([unpacked, wide]) as Float32Array[];
    assertEquals(a, b);
    const x = tf.variable(tf.tensor2d(values(rows * I, 3), [rows, I]));
    const bias = tf.variable(tf.tensor1d(values(O, 4)));
    const dy = tf.tensor2d(values(rows * O, 5), [rows, O]);
    const of = (layer: () => tf.Tensor) => {
      const { value, grads } = tf.variableGrads(() => layer().mul(dy).sum() as tf.Scalar, [
        x,
        bias,
      ]);
      value.dispose();
      return [tf.tidy(layer), ...Object.values(grads)];
    };
    const got = of(() => linear(x, weight, bias));
    const want = of(() => linearComposite(x, wide, bias));
    const read = await readBack([...got, ...want]) as Float32Array[];
    read.slice(0, 3).forEach((numbers, i) => {
      const error = difference(numbers, read[i + 3]);
      assert(error <= 1e-5, `${rows} × ${O} × ${I}, ${i}: ${error}`);
    });
    // In a 16-bit pass the numbers are rounded as float32 weights are.
    const half = of(() => withPrecision("bf16", () => linear(x, weight, bias)));
    const halfWide = of(() => withPrecision("bf16", () => linear(x, wide, bias)));
    const halves = await readBack([...half, ...halfWide]) as Float32Array[];
    halves.slice(0, 3).forEach((numbers, i) => {
      const error = difference(numbers, halves[i + 3]);
      assert(error <= 8e-3, `bf16 ${rows} × ${O} × ${I}, ${i}: ${error}`);
    });
    weight.dispose();
    tf.dispose([wide, unpacked, x, bias, dy, ...got, ...want, ...half, ...halfWide]);
  }
}

for (const backend of ["wasm", "cpu"] as const) {
  Deno.test(`layers on 8-bit weights compute with the numbers they stand for, ${backend}`, async () => {
    await initBackend({ backend });
    await compareLayers();
  });
}

gpuTest("layers on 8-bit weights compute with the numbers they stand for, webgpu", async () => {
  await initBackend({ backend: "webgpu" });
  await compareLayers();
});
