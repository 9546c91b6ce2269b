import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { linearComposite } from "../../../src/ops/linear.ts";
import { withoutGpuKernels } from "../../../src/ops/webgpu/runtime/enabled.ts";
import { assertClose } from "../assert_close.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { assertSameOp, kernelTest } from "./webgpu_op.ts";

const LINEAR_DIMS = [
  ...[[1, 64, 36], [2, 8, 4], [5, 132, 20], [8, 36, 68]], // few rows
  ...[[1, 1, 1], [3, 17, 5], [7, 4, 4], [65, 68, 20], [130, 64, 132], [9, 30, 64], [33, 64, 1026]],
];

kernelTest("linear equals its composite", async (k) => {
  for (const [rows, I, O] of LINEAR_DIMS) {
    await assertSameOp(
      `linear [${rows}, ${I}] → ${O}`,
      (x, w, b) => k.linear(x, w, b),
      linearComposite as Op,
      [randomTensor([rows, I], 1), randomTensor([O, I], 2), randomTensor([O], 3)],
    );
  }
  await assertSameOp(
    "linear without a bias, more dims",
    (x, w) => k.linear(x, w),
    (x, w) => linearComposite(x, w),
    [randomTensor([2, 5, 8], 1), randomTensor([12, 8], 2)],
  );
});

kernelTest("a weight's gradient sums over more rows than a loop may have turns", async (k) => {
  const rows = 40_000;
  await assertSameOp(
    `linear [${rows}, 4] → 4`,
    (x, w) => k.linear(x, w),
    (x, w) => linearComposite(x, w),
    [randomTensor([rows, 4], 1), randomTensor([4, 4], 2)],
    1e-4,
  );
});

kernelTest(
  "sums of more terms than a loop may have turns are whole, whichever is transposed",
  async () => {
    // Ones, so that a sum that ends early is seen.
    for (const [M, N, K] of [[9, 3, 70_001], [9, 4, 70_004], [70, 8, 40_000]]) {
      for (const [transposeA, transposeB] of [[false, false], [true, false], [false, true]]) {
        const product = tf.tidy(() =>
          tf.matMul(
            tf.ones<tf.Rank.R2>(transposeA ? [K, M] : [M, K]),
            tf.ones<tf.Rank.R2>(transposeB ? [N, K] : [K, N]),
            transposeA,
            transposeB,
          )
        );
        const [values] = await readBack([product]);
        const what = `${M} ${N} ${K} ${transposeA} ${transposeB}`;
        assertEquals([...new Set(values)], [K], what);
        product.dispose();
      }
    }
  },
);

kernelTest("tf.matMul of matrices runs on our products, whichever is transposed", async () => {
  for (const [M, N, K] of [[5, 8, 12], [70, 20, 36], [3, 5, 7]]) {
    for (const [transposeA, transposeB] of [[false, false], [true, false], [false, true]]) {
      const a = randomTensor(transposeA ? [K, M] : [M, K], 1) as tf.Tensor2D;
      const b = randomTensor(transposeB ? [N, K] : [K, N], 2) as tf.Tensor2D;
      const results = tf.tidy(() => [
        tf.matMul(a, b, transposeA, transposeB),
        tf.matMul(a.expandDims(0), b.expandDims(0), transposeA, transposeB).squeeze([0]),
      ]);
      const stock = await withoutGpuKernels(() =>
        Promise.resolve(tf.matMul(a, b, transposeA, transposeB))
      );
      assertEquals(results.map(({ shape }) => shape), [[M, N], [M, N]]);
      const [first, second, want] = await readBack([...results, stock]);
      assertClose(first, want, 1e-5, `${M} ${N} ${K} ${transposeA} ${transposeB}`);
      assertEquals(second, first);
      tf.dispose([a, b, stock, ...results]);
    }
  }
});
