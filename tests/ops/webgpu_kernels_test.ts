import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { type ActiveBackend, initBackend } from "../../src/device/backend.ts";
import { assertNoGpuErrors, clearGpuErrors } from "../../src/device/gpu_errors.ts";
import { readBack } from "../../src/device/read_back.ts";
import { adamwComposite } from "../../src/ops/adamw.ts";
import { attentionComposite } from "../../src/ops/attention.ts";
import { AttentionLayout } from "../../src/ops/attention_layout.ts";
import { dropoutComposite } from "../../src/ops/dropout.ts";
import { embeddingComposite } from "../../src/ops/embedding.ts";
import { geluComposite } from "../../src/ops/gelu.ts";
import { gradientNormComposite } from "../../src/ops/gradient_norm.ts";
import { headLogProbsComposite } from "../../src/ops/head_log_probs.ts";
import { layerNormComposite } from "../../src/ops/layer_norm.ts";
import { linearComposite } from "../../src/ops/linear.ts";
import { patchesComposite } from "../../src/ops/patches.ts";
import { pixelShuffleComposite } from "../../src/ops/pixel_shuffle.ts";
import { rmsNormComposite } from "../../src/ops/rms_norm.ts";
import { ropeComposite, rotaryAngles } from "../../src/ops/rope.ts";
import { replaceRowsComposite } from "../../src/ops/select_rows.ts";
import { swigluComposite } from "../../src/ops/swiglu.ts";
import { withRoundedOperands } from "../../src/ops/precision.ts";
import { roundHalf } from "../../src/ops/round_half.ts";
import { queryRanges } from "../../src/ops/webgpu/attention.ts";
import { withoutGpuKernels } from "../../src/ops/webgpu/enabled.ts";
import { type GpuKernels, gpuKernels } from "../../src/ops/webgpu/kernels.ts";
import { describeDevice } from "../../src/ops/webgpu/launch.ts";
import { RandomStream } from "../../src/random.ts";
import { gpuTest } from "../gpu_adapter.ts";
import { assertClose } from "./assert_close.ts";

type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

/** The two families of kernels: tiles in workgroup memory, and textures for a CPU as a GPU. */
const FAMILIES = [["textures", true], ["tiles", false]] as const;

function randomTensor(shape: number[], seed: number, scale = 1, shift = 0): tf.Tensor {
  const stream = new RandomStream(seed, "test");
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from(
    { length: size },
    () => (stream.nextFloat() * 2 - 1) * scale + shift,
  );
  return tf.tensor(values, shape);
}

/** Runs `body` with the kernels of both families, whatever the adapter is. */
function kernelTest(name: string, body: (k: GpuKernels) => Promise<void>): void {
  for (const [family, isFallback] of FAMILIES) {
    gpuTest(`webgpu, ${family}: ${name}`, async () => {
      clearGpuErrors();
      const backend: ActiveBackend = await initBackend({ backend: "webgpu" });
      try {
        describeDevice(backend.device!, isFallback);
        const kernels = gpuKernels();
        assert(kernels !== null);
        const before = tf.memory().numTensors;
        await body(kernels);
        assertEquals(tf.memory().numTensors, before, "tensors are left behind");
        assertNoGpuErrors();
      } finally {
        backend.dispose();
        await initBackend({ backend: "wasm" });
      }
    });
  }
}

/** Compares values and the gradients of every input, for a random gradient of the output. */
async function assertSameOp(
  name: string,
  fused: Op,
  composite: Op,
  inputs: tf.Tensor[],
  tolerance = 2e-5,
): Promise<void> {
  const run = (op: Op): tf.Tensor[] =>
    tf.tidy(() => {
      const y = op(...inputs);
      return [y, ...tf.grads(op)(inputs, randomTensor(y.shape, 99))];
    });
  const got = run(fused);
  const oracles = await withoutGpuKernels(() => Promise.resolve(run(composite)));
  assertEquals(got.map(({ shape }) => shape), oracles.map(({ shape }) => shape), name);
  const results = [...got, ...oracles];
  const values = await readBack(results);
  tf.dispose([...results, ...inputs]);
  const half = values.length / 2;
  assert(values[0].some((value) => value !== 0), `${name} gives zeros`);
  for (let i = 0; i < half; i++) {
    const what = i === 0 ? name : `${name}, gradient ${i - 1}`;
    assertClose(values[i], values[half + i], tolerance, what);
  }
}

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

kernelTest(
  "operands that are rounded to float16 give the same bits in tiles of float16",
  async (k) => {
    const inputs = [randomTensor([70, 36], 1), randomTensor([20, 36], 2)];
    const rounded = tf.tidy(() => inputs.map((x) => roundHalf(x, "fp16")));
    const wide = k.linear(rounded[0], rounded[1]);
    const narrow = withRoundedOperands("fp16", () => k.linear(rounded[0], rounded[1]));
    const [want, got] = await readBack([wide, narrow]);
    assertEquals(got, want);
    tf.dispose([...inputs, ...rounded, wide, narrow]);
  },
);

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

/** Zeros where a query sees nothing: there the composite means nothing. */
function maskRows(y: tf.Tensor, layout: AttentionLayout): tf.Tensor {
  const seen = Float32Array.from(
    { length: layout.batch * layout.queries },
    (_, i) => {
      const ranges = layout.ranges(Math.floor(i / layout.queries), i % layout.queries);
      return ranges.some(([start, end]) => end > start) ? 1 : 0;
    },
  );
  return y.mul(tf.tensor(seen, [layout.batch, layout.queries, 1]));
}

async function assertSameAttention(
  k: GpuKernels,
  name: string,
  [B, Tq, Tk, H, K, D]: number[],
  layout: AttentionLayout | null,
): Promise<void> {
  layout?.mask(); // Made and kept now, not in a tidy.
  const run = (op: GpuKernels["attention"]): Op => (q, key, v) => {
    const y = op(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout);
    assert(y !== null);
    return layout === null ? y : maskRows(y, layout);
  };
  await assertSameOp(name, run(k.attention), run(attentionComposite), [
    randomTensor([B, Tq, H, D], 1, 3),
    randomTensor([B, Tk, K, D], 2),
    randomTensor([B, Tk, K, D], 3),
  ]);
  layout?.dispose();
}

/** A row with padding, a prefix read causally, and branches of unequal lengths; and one without. */
function branchedLayout(prefix: number, branches: readonly number[]): AttentionLayout {
  const starts = Int32Array.from([0, Math.min(2, prefix - 1)]);
  const T = prefix + branches.reduce((a, b) => a + b, 0);
  const branchStarts = new Int32Array(2 * T);
  const ends = new Int32Array(2 * T);
  for (let b = 0; b < 2; b++) {
    for (let i = 0; i < T; i++) {
      let start = prefix;
      for (const length of branches) if (i >= start + length) start += length;
      branchStarts[b * T + i] = i < prefix ? T : start;
      ends[b * T + i] = i + 1;
    }
  }
  const prefixEnds = new Int32Array(2).fill(prefix);
  return new AttentionLayout(2, T, T, starts, prefixEnds, branchStarts, ends);
}

kernelTest("attention equals its composite, whatever the layout", async (k) => {
  const whole = [[1, 1, 1, 1, 1, 4], [2, 1, 65, 6, 2, 16], [1, 70, 66, 2, 1, 32]];
  for (const dims of whole) await assertSameAttention(k, `all keys [${dims}]`, dims, null);
  for (const T of [1, 17, 67]) {
    const layout = AttentionLayout.causal(Int32Array.from([0, Math.floor(T / 3), T - 1]), T);
    await assertSameAttention(k, `causal ${T}`, [3, T, T, 4, 2, 12], layout);
  }
  const decode = AttentionLayout.decode(Int32Array.from([0, 32]), 65);
  await assertSameAttention(k, "decode", [2, 1, 65, 6, 2, 8], decode);
  for (const [prefix, branches] of [[5, [3, 1, 7]], [60, [9, 40]], [1, [1, 1]]] as const) {
    const layout = branchedLayout(prefix, branches);
    const T = layout.queries;
    await assertSameAttention(k, `${prefix} + ${branches}`, [2, T, T, 3, 1, 20], layout);
  }
});

kernelTest(
  "attention leaves odd head dims to the composite, and refuses a wrong layout",
  async (k) => {
    const x = randomTensor([1, 2, 1, 6], 1) as tf.Tensor4D;
    assertEquals(k.attention(x, x, x, null), null);
    const y = randomTensor([1, 2, 1, 8], 1) as tf.Tensor4D;
    const layout = AttentionLayout.causal(new Int32Array(1), 3);
    await assertRejects(
      () => Promise.resolve().then(() => k.attention(y, y, y, layout)),
      Error,
      "Cannot attend: the layout is for [1, 3, 3], the tensors are [1, 2, 2]",
    );
    tf.dispose([x, y]);
  },
);

Deno.test("each run of keys knows which queries may see it", () => {
  const layout = branchedLayout(5, [3, 4]);
  // Keys 0–3 are seen by every query, keys 4–7 by all from the fourth on (branch 2 sees key 4),
  // keys 8–11 by branch 2 alone.
  assertEquals([...queryRanges(layout, 4)].slice(0, 6), [0, 12, 4, 12, 8, 12]);
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

kernelTest("the head works chunk by chunk where the vocabulary is large", async (k) => {
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

kernelTest("the norm, the column sum and the argmax equal the composites", async (k) => {
  const gradients = [[3], [64, 30], [5, 4], [1]].map((shape, i) => randomTensor(shape, i));
  const wide = randomTensor([100, 12], 1);
  const odd = randomTensor([70, 5], 2);
  const ties = tf.tensor2d([[1, 3, 3], [2, 2, 2], [-5, -7, -5]]);
  const results = tf.tidy(() => [
    ...[k.gradientNorm(gradients), k.columnSum(wide), k.columnSum(odd)],
    ...[k.argmaxRows(wide), k.argmaxRows(ties)],
    ...[gradientNormComposite(gradients), wide.sum(0), odd.sum(0)],
    ...[tf.argMax(wide, 1), tf.tensor1d([1, 0, 0], "int32")],
  ]);
  const values = await readBack(results);
  for (let i = 0; i < 5; i++) assertClose(values[i], values[5 + i], 1e-6, `result ${i}`);
  tf.dispose([...results, ...gradients, wide, odd, ties]);
});

kernelTest("AdamW in place equals the composite, step by step", async (k) => {
  for (const size of [7, 256]) {
    const variables = tf.tidy(() => {
      const make = (seed: number, scale: number, shift = 0) =>
        tf.variable(randomTensor([size], seed, scale, shift), false);
      return [0, 1].map(() => [make(1, 1), make(2, 1e-3), make(3, 1e-4, 2e-4)]);
    });
    for (let step = 1; step <= 3; step++) {
      const gradient = randomTensor([size], 10 + step);
      const numbers = {
        ...{ learningRate: 1e-2, weightDecay: 0.1, beta1: 0.9, beta2: 0.999 },
        ...{ eps: 1e-8, step, gradientScale: 0.5 },
      };
      const [[w, m, v], [parameter, firstMoment, secondMoment]] = variables;
      assert(k.adamW(w, gradient, m, v, numbers));
      adamwComposite({ parameter, firstMoment, secondMoment }, gradient, numbers);
      const read = await readBack(variables.flat());
      for (let i = 0; i < 3; i++) assertClose(read[i], read[3 + i], 1e-6, `step ${step}, ${i}`);
      gradient.dispose();
    }
    tf.dispose(variables.flat());
  }
});

kernelTest("AdamW leaves alone what another tensor shares", async (k) => {
  const shared = randomTensor([4], 1);
  const clone = shared.clone();
  const parameter = tf.variable(shared, false);
  const moments = tf.tidy(() => [1, 2].map(() => tf.variable(tf.zeros([4]), false)));
  const numbers = {
    ...{ learningRate: 1, weightDecay: 0, beta1: 0.9, beta2: 0.999 },
    ...{ eps: 1e-8, step: 1, gradientScale: 1 },
  };
  assertEquals(k.adamW(parameter, clone, moments[0], moments[1], numbers), false);
  await clone.data();
  tf.dispose([shared, clone, parameter, ...moments]);
});
