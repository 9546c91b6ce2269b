import { assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { dropoutComposite } from "../../../src/ops/activations.ts";
import { replaceRowsComposite, selectRowsComposite } from "../../../src/ops/row_ops.ts";
import { randomTensor } from "../random_tensor.ts";
import { assertSameOp, kernels, SIZES } from "./wasm_op.ts";

Deno.test("rows are gathered, and scattered back with duplicates added", async () => {
  const k = await kernels();
  const ids = Int32Array.from([4, 0, 4, 2, 4]);
  for (const C of SIZES) {
    assertSameOp(
      `gather ${C}`,
      (table) => k.gatherRows(table, ids),
      (table) => tf.matMul(tf.oneHot(tf.tensor1d(ids, "int32"), 6).toFloat(), table as tf.Tensor2D),
      [randomTensor([6, C], 1)],
    );
  }
});

Deno.test("tf.gather has its gradient on the wasm backend", async () => {
  await kernels();
  tf.tidy(() => {
    const ids = tf.tensor1d([2, 0, 2], "int32");
    const dx = tf.grad((x: tf.Tensor) => tf.gather(x, ids).sum())(tf.ones([4, 3]));
    assertEquals([...dx.dataSync()], [1, 1, 1, 0, 0, 0, 2, 2, 2, 0, 0, 0]);
  });
});

Deno.test("rows are replaced, and both sides get their gradients", async () => {
  const k = await kernels();
  for (const ids of [[], [2], [5, 0, 3]]) {
    for (const C of SIZES) {
      const positions = Int32Array.from(ids);
      assertSameOp(
        `replace ${ids} of ${C}`,
        (x, rows) => k.replaceRows(x as tf.Tensor2D, rows as tf.Tensor2D, positions),
        (x, rows) => replaceRowsComposite(x as tf.Tensor2D, rows as tf.Tensor2D, positions),
        [randomTensor([6, C], 1), randomTensor([ids.length, C], 2)],
      );
    }
  }
});

Deno.test("an id beyond the last row is refused before anything is written", async () => {
  const k = await kernels();
  tf.tidy(() => {
    const x = randomTensor([4, 3], 1) as tf.Tensor2D;
    const rows = randomTensor([1, 3], 2) as tf.Tensor2D;
    for (const id of [-1, 4, 9]) {
      const ids = Int32Array.of(id);
      const wanted = `Cannot take row ${id}: the table has 4 rows`;
      assertThrows(() => k.replaceRows(x, rows, ids), RangeError, wanted);
      assertThrows(() => k.gatherRows(x, ids), RangeError, wanted);
      assertThrows(() => replaceRowsComposite(x, rows, ids), RangeError, wanted);
      assertThrows(() => selectRowsComposite(x, ids), RangeError, wanted);
    }
    const ids = tf.tensor1d([0, 9], "int32");
    assertThrows(() => tf.unsortedSegmentSum(tf.ones([2, 3]), ids, 4), RangeError, "row 9");
    const skipped = tf.unsortedSegmentSum(tf.ones([2, 1]), tf.tensor1d([-1, 1], "int32"), 2);
    assertEquals([...skipped.dataSync()], [0, 1]);
  });
});

Deno.test("dropout drops the values that its composite drops, forward and backward", async () => {
  const k = await kernels();
  for (const size of SIZES) {
    assertSameOp(
      `dropout ${size}`,
      (x) => k.dropout(x, 0.3, 123456789),
      (x) => dropoutComposite(x, 0.3, 123456789),
      [randomTensor([size], 1)],
    );
  }
});

Deno.test("patches and pixel shuffle equal transposes, values and gradients", async () => {
  const k = await kernels();
  for (const [N, S, p] of [[1, 4, 2], [2, 15, 5], [3, 21, 3]]) {
    const side = S / p;
    assertSameOp(
      `patches ${N} ${S} ${p}`,
      (x) => k.patches(x as tf.Tensor4D, p),
      (x) =>
        x.reshape([N, 3, side, p, side, p]).transpose([0, 2, 4, 1, 3, 5])
          .reshape([N, side * side, 3 * p * p]),
      [randomTensor([N, 3, S, S], 1)],
    );
  }
  for (const [N, side, s, C] of [[1, 2, 2, 1], [2, 6, 3, 5], [3, 4, 2, 17]]) {
    const out = side / s;
    assertSameOp(
      `pixel shuffle ${N} ${side} ${s} ${C}`,
      (x) => k.pixelShuffle(x as tf.Tensor3D, s),
      (x) =>
        x.reshape([N, out, s, out, s * C]).transpose([0, 1, 3, 2, 4])
          .reshape([N, out * out, s * s * C]),
      [randomTensor([N, side * side, C], 1)],
    );
  }
});
