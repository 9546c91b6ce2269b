import { assert } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { attentionComposite } from "../../src/ops/attention.ts";
import { AttentionLayout } from "../../src/ops/attention_layout.ts";
import { type Op, randomTensor } from "./random_tensor.ts";
import { assertSameOp, kernels, SIZES } from "./wasm_op.ts";
import { branchedLayout } from "./branched_layout.ts";

const ATTENTION_DIMS = [
  [1, 1, 1, 1, 1, 1],
  [2, 1, 65, 6, 2, 16],
  [1, 17, 17, 1, 1, 3],
  [2, 63, 63, 3, 1, 17],
  [2, 65, 65, 4, 2, 32],
  [1, 130, 130, 2, 2, 64],
  [2, 3, 17, 9, 3, 8],
];

Deno.test("attention over all keys equals its composite, values and gradients", async () => {
  const k = await kernels();
  for (const [B, Tq, Tk, H, K, D] of ATTENTION_DIMS) {
    const inputs = [
      randomTensor([B, Tq, H, D], 1, 3),
      randomTensor([B, Tk, K, D], 2),
      randomTensor([B, Tk, K, D], 3),
    ];
    assertSameOp(
      `attention [${[B, Tq, Tk, H, K, D]}]`,
      (q, key, v) => k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, null),
      (q, key, v) =>
        attentionComposite(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, null),
      inputs,
    );
  }
});

/** The same layout with every query that sees nothing left out of `dy`, by zeroing its rows. */
function maskRows(y: tf.Tensor, layout: AttentionLayout): tf.Tensor {
  const seen = Float32Array.from(layout.ends, (end, i) => {
    const b = Math.floor(i / layout.queries);
    const prefix = Math.min(layout.prefixEnds[b], end) > layout.starts[b];
    return prefix || end > layout.branchStarts[i] ? 1 : 0;
  });
  return y.mul(tf.tensor(seen, [layout.batch, layout.queries, 1]));
}

function assertSameAttention(
  k: Awaited<ReturnType<typeof kernels>>,
  name: string,
  [H, K, D]: number[],
  layout: AttentionLayout,
) {
  const { batch: B, queries: Tq, keys: Tk } = layout;
  const run = (op: typeof attentionComposite): Op => (q, key, v) =>
    maskRows(op(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout), layout);
  layout.mask(); // Made and kept now, so that the count of tensors stays level.
  assertSameOp(name, run(k.attention), run(attentionComposite), [
    randomTensor([B, Tq, H, D], 1, 3),
    randomTensor([B, Tk, K, D], 2),
    randomTensor([B, Tk, K, D], 3),
  ]);
  layout.dispose();
}

Deno.test("causal attention over left-padded rows equals its composite", async () => {
  const k = await kernels();
  for (const T of SIZES) {
    const starts = Int32Array.from([0, Math.floor(T / 3), T - 1]);
    assertSameAttention(k, `causal ${T}`, [4, 2, 17], AttentionLayout.causal(starts, T));
  }
});

Deno.test("cached decoding over left-padded rows equals its composite", async () => {
  const k = await kernels();
  for (const length of SIZES) {
    const starts = Int32Array.from([0, Math.floor(length / 2)]);
    assertSameAttention(k, `decode ${length}`, [6, 2, 8], AttentionLayout.decode(starts, length));
  }
});

Deno.test("attention over a prefix and branches equals its composite", async () => {
  const k = await kernels();
  for (const [prefix, branches] of [[5, [3, 1, 7]], [60, [9, 40]], [1, [1, 1]]] as const) {
    const layout = branchedLayout(prefix, branches);
    assertSameAttention(k, `prefix ${prefix} + ${branches}`, [3, 1, 20], layout);
  }
});

Deno.test("a query that sees no key gives zeros and no gradient", async () => {
  const k = await kernels();
  tf.tidy(() => {
    const layout = AttentionLayout.causal(Int32Array.from([3]), 5);
    const q = randomTensor([1, 5, 2, 8], 1) as tf.Tensor4D;
    const dq = tf.grad((q: tf.Tensor) =>
      k.attention(q as tf.Tensor4D, q as tf.Tensor4D, q as tf.Tensor4D, layout)
    )(q);
    const values = k.attention(q, q, q, layout).dataSync();
    assert(values.slice(0, 3 * 16).every((x) => x === 0));
    assert(values.slice(3 * 16).every((x) => Number.isFinite(x) && x !== 0));
    assert(dq.dataSync().slice(0, 3 * 16).every((x) => x === 0));
  });
});
