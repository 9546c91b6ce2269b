import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { attentionComposite } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import type { Rotation } from "../../../src/ops/attention/rotary_angles.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { assertSameOp, kernels, SIZES } from "./wasm_op.ts";
import { branchedLayout, joinedLayout } from "../branched_layout.ts";
import { assertFiniteDifferences } from "../finite_differences.ts";
import { randomRotation } from "../random_rotation.ts";

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
  rotation?: Rotation,
) {
  const { batch: B, queries: Tq, keys: Tk } = layout;
  const run = (op: typeof attentionComposite): Op => (q, key, v) =>
    maskRows(op(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout, rotation), layout);
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

Deno.test("attention turns queries and keys as its composite does, whatever the layout", async () => {
  const k = await kernels();
  for (const T of SIZES) {
    const starts = Int32Array.from([0, Math.floor(T / 3), T - 1]);
    const layout = AttentionLayout.causal(starts, T);
    const { rotation, dispose } = randomRotation([3, T, 10], true);
    assertSameAttention(k, `causal ${T}`, [6, 2, 10], layout, rotation);
    dispose();
  }
  for (const [prefix, branches] of [[5, [3, 1, 7]], [60, [9, 40]], [1, [1, 1]]] as const) {
    const layout = branchedLayout(prefix, branches);
    const { rotation, dispose } = randomRotation([2, layout.queries, 64], true);
    assertSameAttention(k, `prefix ${prefix} + ${branches}`, [3, 1, 64], layout, rotation);
    dispose();
  }
  for (const [B, T, H, K, D] of [[1, 1, 1, 1, 2], [2, 130, 4, 2, 32]]) {
    const { rotation, dispose } = randomRotation([B, T, D], true);
    const inputs = [[B, T, H, D], [B, T, K, D], [B, T, K, D]].map((shape, i) =>
      randomTensor(shape, i, 2)
    );
    const run = (op: typeof attentionComposite): Op => (q, key, v) =>
      op(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, null, rotation);
    assertSameOp(`all keys ${T}`, run(k.attention), run(attentionComposite), inputs);
    dispose();
  }
});

/** Joined rows' tensors of ones' own: q [1, N, H, D], k and v [1, N, K, D]. */
function joinedInputs(N: number, [H, K, D]: number[]): tf.Tensor[] {
  return [H, K, K].map((heads, i) => randomTensor([1, N, heads, D], i + 1, i === 0 ? 3 : 1));
}

Deno.test("attention over joined rows equals its composite, which is that of each row", async () => {
  const k = await kernels();
  for (const [[H, K, D], turns] of [[[3, 1, 20], false], [[4, 2, 32], true]] as const) {
    const layout = joinedLayout();
    const N = layout.totalQueries;
    const { rotation, dispose } = randomRotation([1, N, D], true);
    const run = (op: typeof attentionComposite): Op => (q, key, v) =>
      op(
        q as tf.Tensor4D,
        key as tf.Tensor4D,
        v as tf.Tensor4D,
        layout,
        turns ? rotation : undefined,
      );
    const inputs = joinedInputs(N, [H, K, D]);
    tf.tidy(() => {
      const [q, key, v] = inputs as tf.Tensor4D[];
      const joined = attentionComposite(q, key, v, layout);
      for (let b = 0; b < layout.batch; b++) {
        const [first, length] = [layout.firstQuery(b), layout.queriesOf(b)];
        const [qb, kb, vb] = [q, key, v].map((x) => x.slice([0, first], [1, length]));
        const own = layout.row(b);
        const alone = attentionComposite(qb, kb, vb, own).dataSync();
        own.dispose();
        assertEquals(joined.slice([0, first], [1, length]).dataSync(), alone, `row ${b}`);
      }
    });
    assertSameOp(`joined rows, heads of ${D}`, run(k.attention), run(attentionComposite), inputs);
    layout.dispose();
    dispose();
  }
});

Deno.test("joined rows have the bits of rows that are alone, values and gradients", async () => {
  const k = await kernels();
  const layout = joinedLayout();
  const N = layout.totalQueries;
  const inputs = joinedInputs(N, [4, 2, 16]) as tf.Tensor4D[];
  tf.tidy(() => {
    const through = (layout: AttentionLayout) => (...[q, key, v]: tf.Tensor[]): tf.Tensor =>
      k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout);
    const joined = tf.grads(through(layout))(inputs);
    for (let b = 0; b < layout.batch; b++) {
      const cut = (x: tf.Tensor4D) => x.slice([0, layout.firstQuery(b)], [1, layout.queriesOf(b)]);
      const alone = tf.grads(through(layout.row(b)))(inputs.map(cut));
      alone.forEach((gradient, i) =>
        assertEquals(cut(joined[i] as tf.Tensor4D).dataSync(), gradient.dataSync(), `row ${b}`)
      );
    }
  });
  assertThrows(
    () =>
      k.attention(inputs[0], inputs[1], inputs[2], AttentionLayout.causal(new Int32Array(1), 3)),
    Error,
    `the layout is for [1, 3, 3], the tensors are [1, ${N}, ${N}]`,
  );
  tf.dispose(inputs);
});

Deno.test("attention to a cache turns the queries alone", async () => {
  const k = await kernels();
  for (const length of SIZES) {
    const layout = AttentionLayout.decode(Int32Array.from([0, Math.floor(length / 2)]), length);
    const { rotation, dispose } = randomRotation([2, 1, 8], false);
    assertSameAttention(k, `decode ${length}`, [6, 2, 8], layout, rotation);
    dispose();
  }
  const [starts, prefixEnds, branchStarts, ends] = [[1], [1], [1, 1, 1], [5, 6, 7]]
    .map((values) => Int32Array.from(values));
  const chunk = new AttentionLayout(1, 3, 7, starts, prefixEnds, branchStarts, ends);
  const { rotation, dispose } = randomRotation([1, 3, 16], false);
  assertSameAttention(k, "three tokens behind four", [4, 2, 16], chunk, rotation);
  dispose();
});

Deno.test("gradients through turned queries and keys are those of finite differences", async () => {
  const k = await kernels();
  const causal = AttentionLayout.causal(Int32Array.from([0, 2]), 5);
  const rows = [{ prefixLength: 2, branchStarts: [0, 0, 2, 2, 4] }, {
    prefixLength: 0,
    branchStarts: [0, 0, 0],
  }];
  for (const [layout, B, T] of [[causal, 2, 5], [AttentionLayout.joined(rows), 1, 8]] as const) {
    const { rotation, dispose } = randomRotation([B, T, 8], true);
    const op: Op = (q, key, v) =>
      k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout, rotation);
    await assertFiniteDifferences(op, [[B, T, 4, 8], [B, T, 2, 8], [B, T, 2, 8]]);
    layout.dispose();
    dispose();
  }
});

Deno.test("angles of other dims are refused, with the shapes", async () => {
  const k = await kernels();
  const { rotation, dispose } = randomRotation([1, 3, 8], true);
  const x = randomTensor([1, 2, 1, 8], 1) as tf.Tensor4D;
  assertThrows(
    () => k.attention(x, x, x, null, rotation),
    Error,
    "angles [1,3,1,4] do not turn queries [1,2,1,8]",
  );
  tf.dispose(x);
  dispose();
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
