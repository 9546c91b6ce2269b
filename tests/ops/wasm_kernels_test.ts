import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { wasmHeap } from "../../src/device/wasm_heap.ts";
import { attentionComposite } from "../../src/ops/attention.ts";
import { AttentionLayout } from "../../src/ops/attention_layout.ts";
import { dropoutComposite } from "../../src/ops/dropout.ts";
import { geluComposite } from "../../src/ops/gelu.ts";
import { layerNormComposite } from "../../src/ops/layer_norm.ts";
import { linearComposite } from "../../src/ops/linear.ts";
import { rmsNormComposite } from "../../src/ops/rms_norm.ts";
import { ropeComposite, rotaryAngles } from "../../src/ops/rope.ts";
import { replaceRowsComposite } from "../../src/ops/select_rows.ts";
import { swigluComposite } from "../../src/ops/swiglu.ts";
import { wasmKernels } from "../../src/ops/wasm/kernels.ts";
import { RandomStream } from "../../src/random.ts";
import { assertClose } from "./assert_close.ts";

const SIZES = [1, 3, 17, 63, 65, 130];

type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

function randomTensor(shape: number[], seed: number, scale = 1, shift = 0): tf.Tensor {
  const stream = new RandomStream(seed, "test");
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from(
    { length: size },
    () => (stream.nextFloat() * 2 - 1) * scale + shift,
  );
  return tf.tensor(values, shape);
}

async function kernels() {
  await initBackend({ backend: "wasm" });
  const found = wasmKernels();
  assert(found !== null);
  return found;
}

/** Compares values and the gradients of every input, for a random gradient of the output. */
function assertSameOp(
  name: string,
  fused: Op,
  composite: Op,
  inputs: tf.Tensor[],
  tolerance = 2e-5,
) {
  const before = tf.memory().numTensors;
  tf.tidy(() => {
    const got = fused(...inputs);
    const want = composite(...inputs);
    assertEquals(got.shape, want.shape, name);
    assertClose(got.dataSync(), want.dataSync(), tolerance, name);
    const dy = randomTensor(want.shape, 99);
    const gradients = tf.grads(fused)(inputs, dy);
    const oracles = tf.grads(composite)(inputs, dy);
    gradients.forEach((gradient, i) => {
      assertEquals(gradient.shape, oracles[i].shape, name);
      assertClose(gradient.dataSync(), oracles[i].dataSync(), tolerance, `${name}, gradient ${i}`);
    });
  });
  assertEquals(tf.memory().numTensors, before, `${name} leaves tensors behind`);
}

Deno.test("linear equals its composite, values and gradients", async () => {
  const k = await kernels();
  for (const rows of SIZES) {
    for (const [I, O] of [[1, 1], [3, 17], [17, 3], [64, 65], [130, 63]]) {
      const inputs = [randomTensor([rows, I], 1), randomTensor([O, I], 2), randomTensor([O], 3)];
      const name = `linear [${rows}, ${I}] → ${O}`;
      assertSameOp(name, (x, w, b) => k.linear(x, w, b), linearComposite as Op, inputs);
      assertSameOp(
        name,
        (x, w) => k.linear(x, w),
        (x, w) => linearComposite(x, w),
        inputs.slice(0, 2),
      );
    }
  }
});

Deno.test("norms equal their composites, values and gradients", async () => {
  const k = await kernels();
  for (const rows of [1, 3, 65]) {
    for (const C of SIZES.slice(1)) {
      const x = randomTensor([1, rows, C], 1, 2, 0.5);
      const weight = randomTensor([C], 2, 1, 1);
      const bias = randomTensor([C], 3);
      assertSameOp(
        `rmsNorm [${rows}, ${C}]`,
        (x, w) => k.rmsNorm(x, w, 1e-5),
        (x, w) => rmsNormComposite(x, w, 1e-5),
        [x, weight],
      );
      assertSameOp(
        `layerNorm [${rows}, ${C}]`,
        (x, w, b) => k.layerNorm(x, w, b, 1e-6),
        (x, w, b) => layerNormComposite(x, w, b, 1e-6),
        [x, weight, bias],
      );
    }
  }
});

Deno.test("activations equal their composites, values and gradients, for small and large values", async () => {
  const k = await kernels();
  for (const size of SIZES) {
    for (const scale of [1e-3, 1, 10, 60]) {
      const x = randomTensor([size], 1, scale);
      const up = randomTensor([size], 2, scale);
      assertSameOp(`gelu ${size} x${scale}`, k.gelu, geluComposite as Op, [x], 1e-6);
      assertSameOp(`swiglu ${size} x${scale}`, k.swiglu, swigluComposite as Op, [x, up], 1e-6);
    }
  }
});

Deno.test("gelu is as near to the exact value as float32 is, at every magnitude", async () => {
  const k = await kernels();
  const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 200);
  const y = tf.tidy(() => k.gelu(tf.tensor1d(x)).dataSync());
  x.forEach((value, i) => {
    const inner = Math.sqrt(2 / Math.PI) * (value + 0.044715 * value ** 3);
    const exact = 0.5 * value * (1 + Math.tanh(inner));
    assert(
      Math.abs(y[i] - exact) <= 3e-7 * Math.max(1, Math.abs(value)),
      `gelu(${value}) = ${y[i]}`,
    );
  });
});

Deno.test("rope equals its composite, values and gradients", async () => {
  const k = await kernels();
  for (const [B, T, H, D] of [[1, 1, 1, 2], [2, 3, 3, 6], [1, 17, 2, 64], [3, 5, 1, 10]]) {
    const positions = Int32Array.from({ length: B * T }, (_, i) => i * 3 % 50);
    const angles = rotaryAngles(positions, B, {
      headDim: D,
      base: 10000,
      maxPositions: 64,
      attentionScaling: 1,
    });
    assertSameOp(
      `rope [${B}, ${T}, ${H}, ${D}]`,
      (x) => k.rope(x as tf.Tensor4D, angles.cos, angles.sin),
      (x) => ropeComposite(x as tf.Tensor4D, angles),
      [randomTensor([B, T, H, D], 1)],
    );
  }
});

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
  // Two rows: padding, a prefix read causally, then branches of unequal lengths.
  for (const [prefix, branches] of [[5, [3, 1, 7]], [60, [9, 40]], [1, [1, 1]]] as const) {
    const starts = Int32Array.from([0, Math.min(2, prefix - 1)]);
    const T = prefix + branches.reduce((a, b) => a + b, 0);
    const prefixEnds = new Int32Array(2).fill(prefix);
    const branchStarts = new Int32Array(2 * T);
    const ends = new Int32Array(2 * T);
    for (let b = 0; b < 2; b++) {
      for (let i = 0; i < T; i++) {
        let start = prefix;
        for (const length of branches) if (i >= start + length) start += length;
        branchStarts[b * T + i] = start;
        ends[b * T + i] = i + 1;
        if (i < prefix) branchStarts[b * T + i] = T;
      }
    }
    const layout = new AttentionLayout(2, T, T, starts, prefixEnds, branchStarts, ends);
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

function logProbsOracle(h: tf.Tensor, w: tf.Tensor, targets: Int32Array, temperature: number) {
  const logits = tf.matMul(h as tf.Tensor2D, w as tf.Tensor2D, false, true).div(temperature);
  const picked = logits.mul(tf.oneHot(tf.tensor1d(targets, "int32"), w.shape[0])).sum(1);
  return picked.sub(tf.logSumExp(logits, 1));
}

Deno.test("head log-probabilities equal log-softmax over whole logits, values and gradients", async () => {
  const k = await kernels();
  for (const [N, C, V] of [[1, 1, 2], [3, 17, 5], [17, 8, 1023], [200, 33, 130], [5, 65, 2050]]) {
    for (const temperature of [1, 0.7]) {
      const targets = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
      assertSameOp(
        `head [${N}, ${C}] x ${V} / ${temperature}`,
        (h, w) => k.headLogProbs(h as tf.Tensor2D, w as tf.Tensor2D, targets, temperature),
        (h, w) => logProbsOracle(h, w, targets, temperature),
        [randomTensor([N, C], 1), randomTensor([V, C], 2)],
      );
    }
  }
});

Deno.test("the head's log-probabilities stand logits of hundreds", async () => {
  const k = await kernels();
  tf.tidy(() => {
    const h = tf.tensor2d([300, -300], [2, 1]);
    const w = tf.tensor2d([1, -1, 0.999], [3, 1]);
    const got = k.headLogProbs(h, w, Int32Array.from([0, 1]), 1).dataSync();
    assertClose(got, [-Math.log(1 + Math.exp(-0.3)), 0], 1e-4, "extreme logits");
  });
});

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

Deno.test("kernels return the heap to where it was, over and over", async () => {
  const k = await kernels();
  const heap = wasmHeap()!;
  const inputs = [[2, 17, 4, 8], [2, 17, 2, 8], [2, 17, 2, 8]].map((shape, i) =>
    randomTensor(shape, i)
  );
  const layout = AttentionLayout.causal(Int32Array.from([0, 3]), 17);
  const step = () =>
    tf.tidy(() => {
      tf.grads((q: tf.Tensor, key: tf.Tensor, v: tf.Tensor) => {
        const y = k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout);
        const h = k.gelu(k.rmsNorm(y, tf.ones([32]), 1e-5)).reshape([34, 32]) as tf.Tensor2D;
        return k.headLogProbs(h, tf.ones([50, 32]), new Int32Array(34), 1).sum();
      })(inputs);
    });
  step();
  const level = heap.usedBytes();
  for (let i = 0; i < 50; i++) step();
  assertEquals(heap.usedBytes(), level);
  tf.dispose(inputs);
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

Deno.test("adamW equals the formula, and refuses values that are shared", async () => {
  const k = await kernels();
  for (const size of SIZES) {
    const [w, g, m] = [1, 2, 3].map((seed) => randomTensor([size], seed));
    const v = randomTensor([size], 4, 0.4, 0.5);
    const numbers = {
      learningRate: 0.01,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      step: 3,
      gradientScale: 0.5,
    };
    const [W, G, M, V] = [w, g, m, v].map((x) => Array.from(x.dataSync()));
    assert(k.adamW(w, g, m, v, numbers));
    const [gotW, gotM, gotV] = [w, m, v].map((x) => x.dataSync());
    for (let i = 0; i < size; i++) {
      const gradient = G[i] * 0.5;
      const first = 0.9 * M[i] + 0.1 * gradient;
      const second = 0.999 * V[i] + 0.001 * gradient ** 2;
      const update = (first / (1 - 0.9 ** 3)) / (Math.sqrt(second / (1 - 0.999 ** 3)) + 1e-8);
      assertClose([gotW[i]], [W[i] * (1 - 0.001) - 0.01 * update], 1e-6, `w ${i}`);
      assertClose([gotM[i], gotV[i]], [first, second], 1e-6, `moments ${i}`);
    }
    const shared = w.clone();
    assertEquals(k.adamW(w, g, m, v, numbers), false);
    assertEquals(shared.dataSync(), gotW);
    tf.dispose([w, g, m, v, shared]);
  }
});

Deno.test("adamW with moments outside the heap gives the same bits, chunk after chunk", async () => {
  const k = await kernels();
  for (const size of [1, 65, 64 * 1024 + 3]) {
    const numbers = {
      learningRate: 0.01,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.95,
      eps: 1e-8,
      step: 2,
      gradientScale: 1,
    };
    const [w, g, m] = [1, 2, 3].map((seed) => randomTensor([size], seed));
    const v = randomTensor([size], 4, 0.4, 0.5);
    const w2 = randomTensor([size], 1);
    const [first, second] = [m, v].map((x) => x.dataSync() as Float32Array);
    assert(k.adamW(w, g, m, v, numbers));
    assert(k.adamWHost(w2, g, first, second, numbers));
    assertEquals(w2.dataSync(), w.dataSync());
    assertEquals(first, m.dataSync());
    assertEquals(second, v.dataSync());
    tf.dispose([w, g, m, v, w2]);
  }
});

Deno.test("the gradient norm, the column sum and the argmax equal plain loops", async () => {
  const k = await kernels();
  for (const size of SIZES) {
    tf.tidy(() => {
      const x = randomTensor([5, size], 1);
      const y = randomTensor([size], 2);
      const values = [...x.dataSync(), ...y.dataSync()];
      const norm = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
      assertClose(k.gradientNorm([x, y]).dataSync(), [norm], 1e-6, `norm ${size}`);
      assertClose(k.columnSum(x).dataSync(), x.sum(0).dataSync(), 1e-6, `sum ${size}`);
      assertEquals([...k.argmaxRows(x).dataSync()], [...x.argMax(1).dataSync()]);
    });
  }
});
