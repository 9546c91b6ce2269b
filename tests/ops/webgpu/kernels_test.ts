import { assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { dropoutComposite, geluComposite, swigluComposite } from "../../../src/ops/activations.ts";
import { embeddingComposite, replaceRowsComposite } from "../../../src/ops/row_ops.ts";
import { headLogProbsComposite } from "../../../src/ops/head.ts";
import { layerNormComposite, rmsNormComposite } from "../../../src/ops/norms.ts";
import {
  patchesComposite,
  pixelShuffleComposite,
  ropeComposite,
} from "../../../src/ops/layouts.ts";
import { rotaryAngles } from "../../../src/ops/attention/rotary_angles.ts";
import { withoutGpuKernels } from "../../../src/ops/webgpu/runtime/enabled.ts";
import { assertClose } from "../assert_close.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { assertSameOp, kernelTest } from "./webgpu_op.ts";

kernelTest("tensors are cut and joined along any axis", async () => {
  for (
    const [shape, sizes, axis] of [
      [[2, 3, 12], [4, 4, 4], 2],
      [[2, 3, 7], [1, 4, 2], 2],
      [[2, 6, 4], [1, 5], 1],
      [[5, 8], [2, 3], 0],
    ] as const
  ) {
    const x = randomTensor([...shape], 1);
    const results = tf.tidy(() => {
      const pieces = tf.split(x, [...sizes], axis);
      return [...pieces, tf.concat(pieces, axis)];
    });
    const want = await withoutGpuKernels(() => Promise.resolve(tf.split(x, [...sizes], axis)));
    const found = await readBack([...results, ...want, x]);
    sizes.forEach((_, i) => assertEquals(found[i], found[sizes.length + 1 + i], `${shape} ${i}`));
    assertEquals(found[sizes.length], found.at(-1), `${shape} joined`);
    tf.dispose([x, ...results, ...want]);
  }
});

kernelTest("norms equal their composites", async (k) => {
  for (const [rows, C] of [[1, 1], [3, 17], [65, 64], [9, 130], [70, 260]]) {
    const weight = () => randomTensor([C], 2, 1, 1);
    await assertSameOp(
      `rmsNorm [${rows}, ${C}]`,
      (x, w) => k.rmsNorm(x, w, 1e-5),
      (x, w) => rmsNormComposite(x, w, 1e-5),
      [randomTensor([rows, C], 1, 2, 0.5), weight()],
    );
    if (C === 1) continue; // One value is its own mean: only rounding is left of it.
    await assertSameOp(
      `layerNorm [${rows}, ${C}]`,
      (x, w, b) => k.layerNorm(x, w, b, 1e-6),
      (x, w, b) => layerNormComposite(x, w, b, 1e-6),
      [randomTensor([1, rows, C], 1, 2, 0.5), weight(), randomTensor([C], 3)],
    );
  }
});

kernelTest("activations equal their composites, for small and large values", async (k) => {
  for (const size of [3, 64, 1030]) {
    for (const scale of [1e-3, 1, 10, 60]) {
      const x = () => randomTensor([size], 1, scale);
      const name = `${size} x${scale}`;
      await assertSameOp(`gelu ${name}`, k.gelu, geluComposite as Op, [x()], 2e-6);
      const inputs = [x(), randomTensor([size], 2, scale)];
      await assertSameOp(`swiglu ${name}`, k.swiglu, swigluComposite as Op, inputs, 2e-6);
    }
  }
});

kernelTest("dropout drops what every other backend drops", async (k) => {
  for (const size of [7, 1024]) {
    await assertSameOp(
      `dropout ${size}`,
      (x) => k.dropout(x, 0.3, 0x9e3779b9),
      (x) => dropoutComposite(x, 0.3, 0x9e3779b9),
      [randomTensor([size], 1)],
      1e-6,
    );
  }
});

kernelTest("rope equals its composite", async (k) => {
  for (const [B, T, H, D] of [[1, 1, 1, 2], [2, 3, 3, 6], [1, 17, 2, 64], [3, 5, 1, 16]]) {
    const positions = Int32Array.from({ length: B * T }, (_, i) => i * 3 % 50);
    const options = { headDim: D, base: 10000, maxPositions: 64, attentionScaling: 1 };
    const angles = rotaryAngles(positions, B, options);
    await assertSameOp(
      `rope [${B}, ${T}, ${H}, ${D}]`,
      (x) => k.rope(x as tf.Tensor4D, angles.cos, angles.sin),
      (x) => ropeComposite(x as tf.Tensor4D, angles),
      [randomTensor([B, T, H, D], 1)],
    );
    tf.dispose([angles.cos, angles.sin]);
  }
});

kernelTest("head log-probabilities equal the composite's", async (k) => {
  for (const [N, C, V] of [[1, 4, 2], [3, 17, 5], [17, 8, 1023], [70, 36, 130]]) {
    for (const temperature of [1, 0.7]) {
      const targets = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
      await assertSameOp(
        `head [${N}, ${C}] x ${V} / ${temperature}`,
        (h, w) => k.headLogProbs(h as tf.Tensor2D, w as tf.Tensor2D, targets, temperature),
        (h, w) => headLogProbsComposite(h as tf.Tensor2D, w as tf.Tensor2D, targets, temperature),
        [randomTensor([N, C], 1), randomTensor([V, C], 2)],
      );
    }
  }
});

/** log p(target) and, for a gradient of ones, dHidden and dHead, in float64. */
function headOracle(h: Float32Array, w: Float32Array, targets: Int32Array, C: number) {
  const N = targets.length, V = w.length / C;
  const logProbs = new Float64Array(N);
  const dHidden = new Float64Array(N * C), dHead = new Float64Array(V * C);
  const exponentials = new Float64Array(V);
  for (let n = 0; n < N; n++) {
    let sum = 0;
    for (let v = 0; v < V; v++) {
      let logit = 0;
      for (let c = 0; c < C; c++) logit += h[n * C + c] * w[v * C + c];
      sum += exponentials[v] = Math.exp(logit);
    }
    logProbs[n] = Math.log(exponentials[targets[n]] / sum);
    for (let v = 0; v < V; v++) {
      const slope = (v === targets[n] ? 1 : 0) - exponentials[v] / sum;
      for (let c = 0; c < C; c++) {
        dHidden[n * C + c] += slope * w[v * C + c];
        dHead[v * C + c] += slope * h[n * C + c];
      }
    }
  }
  return [logProbs, dHidden, dHead];
}

kernelTest("the head works chunk by chunk if the vocabulary is large", async (k) => {
  const [N, C, V] = [180, 4, 50_002]; // 8 Mi floats hold 167 rows
  const targets = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
  const inputs = [randomTensor([N, C], 1), randomTensor([V, C], 2)];
  const op: Op = (h, w) => k.headLogProbs(h as tf.Tensor2D, w as tf.Tensor2D, targets, 1);
  const results = tf.tidy(() => [op(...inputs), ...tf.grads(op)(inputs)]);
  const [h, w, ...got] = await readBack([...inputs, ...results]);
  const oracle = headOracle(h as Float32Array, w as Float32Array, targets, C);
  got.forEach((values, i) => assertClose(values, oracle[i], 2e-5, `head in chunks, ${i}`));
  tf.dispose([...inputs, ...results]);
});

kernelTest("rows are gathered, replaced, and scattered back with duplicates added", async (k) => {
  const ids = Int32Array.from([4, 0, 4, 2, 4]);
  const places = Int32Array.from([5, 1]);
  for (const C of [1, 6, 64]) {
    await assertSameOp(
      `gather ${C}`,
      (table) => k.gatherRows(table, ids),
      (table) => embeddingComposite(table, ids),
      [randomTensor([6, C], 1)],
    );
    await assertSameOp(
      `replace ${C}`,
      (x, rows) => k.replaceRows(x as tf.Tensor2D, rows as tf.Tensor2D, places),
      (x, rows) => replaceRowsComposite(x as tf.Tensor2D, rows as tf.Tensor2D, places),
      [randomTensor([7, C], 1), randomTensor([2, C], 2)],
    );
  }
});

kernelTest("patches and pixel shuffle equal their composites", async (k) => {
  await assertSameOp(
    "patches",
    (x) => k.patches(x as tf.Tensor4D, 4),
    (x) => patchesComposite(x as tf.Tensor4D, 4),
    [randomTensor([2, 3, 12, 12], 1)],
  );
  for (const C of [3, 8]) {
    await assertSameOp(
      `pixel shuffle ${C}`,
      (x) => k.pixelShuffle(x as tf.Tensor3D, 2),
      (x) => pixelShuffleComposite(x as tf.Tensor3D, 2),
      [randomTensor([2, 16, C], 1)],
    );
  }
});

kernelTest("the column sum equals the composite", async (k) => {
  const wide = randomTensor([100, 12], 1);
  const odd = randomTensor([70, 5], 2);
  const results = tf.tidy(() => [
    ...[k.columnSum(wide), k.columnSum(odd)],
    ...[wide.sum(0), odd.sum(0)],
  ]);
  const values = await readBack(results);
  for (let i = 0; i < 2; i++) assertClose(values[i], values[2 + i], 1e-6, `result ${i}`);
  tf.dispose([...results, wide, odd]);
});
