/** Products of 16-bit passes: what they round as they read and as they store. */
import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { packHalf } from "../../../src/ops/half/pack_half.ts";
import { PACKED_FORMATS } from "../../../src/ops/half/packed_weight.ts";
import type { HalfFormat } from "../../../src/ops/half/precision.ts";
import { roundHalf } from "../../../src/ops/half/round_half.ts";
import { launch } from "../../../src/ops/webgpu/runtime/launch.ts";
import { multiply, type Product } from "../../../src/ops/webgpu/product/product.ts";
import { randomTensor } from "../random_tensor.ts";
import { kernelTest } from "./webgpu_op.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];

const DIMS = [[1, 4, 8], [1, 1, 1], [3, 5, 7], [7, 12, 64], [63, 20, 36], [65, 68, 132], [
  70,
  3,
  4,
]];

type Options = Omit<Product, "kind" | "M" | "N" | "K" | "a" | "b" | "c" | "bias">;

/** A product into a new tensor, or added to `sum`, which it leaves alone. */
function product(
  kind: Product["kind"],
  [M, N, K]: readonly number[],
  [a, b, bias, sum]: (tf.Tensor | undefined)[],
  options: Options,
): tf.Tensor {
  return launch({
    name: "TestProduct",
    inputs: { a: a!, b: b!, ...(bias && { bias }), ...(sum && { sum }) },
    run: (l) => {
      // As a copy on the device.
      const c = l.output([M, N]);
      l.backend.ensureCommandEncoderReady();
      l.backend.endComputePassEncoder();
      if (sum) {
        const buffers = [l.buffer(sum), 0, l.buffer(c), 0, 4 * M * N] as const;
        l.backend.commandEncoder.copyBufferToBuffer(...buffers);
      }
      const accumulate = sum !== undefined;
      multiply(l, { ...options, kind, M, N, K, a: a!, b: b!, c, bias, accumulate });
      return [c];
    },
  });
}

/** The operands' shapes. */
function shapes(kind: Product["kind"], [M, N, K]: readonly number[]): number[][] {
  return [kind === "tn" ? [K, M] : [M, K], kind === "nt" ? [N, K] : [K, N]];
}

kernelTest("a product that rounds gives the bits of one of rounded operands, rounded", async () => {
  for (const half of FORMATS) {
    for (const kind of ["nt", "nn", "tn"] as const) {
      for (const dims of DIMS) {
        const [M, N] = dims;
        const tensors = [...shapes(kind, dims), [N], [M, N]].map((shape, i) =>
          randomTensor(shape, i + 1)
        );
        const [a, b, bias, sum] = tensors;
        const results = tf.tidy(() => {
          const R = (x: tf.Tensor) => roundHalf(x, half);
          const rounded = [R(a), R(b)];
          const plain = R(product(kind, dims, [...rounded, R(bias)], {}));
          const side = R(product(kind, dims, rounded, {}));
          const run = product(kind, dims, rounded, {});
          return [
            [product(kind, dims, [a, b, bias], { half, roundsSum: true }), plain],
            [product(kind, dims, [a, b, bias], { half, roundsResult: true }), plain],
            [product(kind, dims, [a, b, , sum], { half, roundsSum: true }), sum.add(side)],
            [product(kind, dims, [a, b, , sum], { half, roundsResult: true }), R(sum.add(run))],
            [
              product(kind, dims, [a, b, , sum], {
                ...{ half, roundsSum: true, roundsResult: true, scale: 2 },
              }),
              R(sum.add(side.mul(2))),
            ],
          ].flat();
        });
        const values = await readBack(results);
        for (let i = 0; i < values.length; i += 2) {
          assertEquals(values[i], values[i + 1], `${half} ${kind} ${dims}, case ${i / 2}`);
        }
        tf.dispose([...tensors, ...results]);
      }
    }
  }
});

kernelTest("products read either operand in 16 bits, of their format or another", async () => {
  for (const half of FORMATS) {
    for (const kind of ["nt", "nn", "tn"] as const) {
      for (const dims of DIMS) {
        const inputs = shapes(kind, dims).map((shape, i) => randomTensor(shape, i + 1));
        const packedTo = (x: tf.Tensor, format: HalfFormat) => ({
          words: packHalf(x, format),
          numbers: { format: PACKED_FORMATS[format], shape: x.shape },
        });
        for (const stored of FORMATS) {
          const results = tf.tidy(() => {
            const rounded = inputs.map((x) => roundHalf(roundHalf(x, stored), half));
            const want = roundHalf(product(kind, dims, rounded, {}), half);
            const [A, B] = inputs.map((x) => packedTo(x, stored));
            const [a, b] = inputs.map((x) => roundHalf(x, stored));
            const options = { half, roundsSum: true } as const;
            return [
              want,
              product(kind, dims, [A.words, b], { ...options, aPacked: A.numbers }),
              product(kind, dims, [a, B.words], { ...options, bPacked: B.numbers }),
              product(kind, dims, [A.words, B.words], {
                ...options,
                aPacked: A.numbers,
                bPacked: B.numbers,
              }),
            ];
          });
          const [want, ...found] = await readBack(results);
          found.forEach((values, i) =>
            assertEquals(values, want, `${half} of ${stored}, ${kind} ${dims}, case ${i}`)
          );
          tf.dispose(results);
        }
        tf.dispose(inputs);
      }
    }
  }
});

kernelTest("a sum over more rows than a loop may have turns is rounded once", async () => {
  const dims = [4, 8, 40_000], options = { half: "bf16", roundsSum: true } as const;
  const inputs = shapes("tn", dims).map((shape, i) => randomTensor(shape, i + 1));
  const results = tf.tidy(() => {
    const rounded = inputs.map((x) => roundHalf(x, "bf16"));
    const words = packHalf(inputs[1], "bf16");
    const bPacked = { format: "BF16", shape: inputs[1].shape } as const;
    return [
      roundHalf(product("tn", dims, rounded, {}), "bf16"),
      product("tn", dims, inputs, options),
      product("tn", dims, [inputs[0], words], { ...options, bPacked }),
    ];
  });
  const [want, ...found] = await readBack(results);
  for (const values of found) assertEquals(values, want);
  tf.dispose([...inputs, ...results]);
});
