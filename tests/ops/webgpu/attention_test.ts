import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { attentionComposite } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { readBack } from "../../../src/device/read_back.ts";
import type { Rotation } from "../../../src/ops/attention/rotary_angles.ts";
import { keyRanges, queryRanges } from "../../../src/ops/webgpu/attention/windows.ts";
import { currentLaunch } from "../../../src/ops/webgpu/runtime/launch.ts";
import type { FusedKernels } from "../../../src/ops/kernels.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { assertClose } from "../assert_close.ts";
import { withoutGpuKernels } from "../../../src/ops/webgpu/runtime/enabled.ts";
import { assertSameOp, kernelTest } from "./webgpu_op.ts";
import { branchedLayout, joinedLayout } from "../branched_layout.ts";
import { assertFiniteDifferences } from "../finite_differences.ts";
import { randomRotation } from "../random_rotation.ts";

/** Zeros for queries that see nothing: the composite's values have no meaning there. */
function maskRows(y: tf.Tensor, layout: AttentionLayout): tf.Tensor {
  const seen = Float32Array.from(
    { length: layout.totalQueries },
    (_, i) => {
      const ranges = layout.ranges(Math.floor(i / layout.queries), i % layout.queries);
      return ranges.some(([start, end]) => end > start) ? 1 : 0;
    },
  );
  return y.mul(tf.tensor(seen, [layout.batch, layout.queries, 1]));
}

async function assertSameAttention(
  k: FusedKernels,
  name: string,
  [B, Tq, Tk, H, K, D]: number[],
  layout: AttentionLayout | null,
  rotation?: Rotation,
): Promise<void> {
  if (!layout?.rowOffsets) layout?.mask(); // Made and kept now, not in a tidy.
  const run = (op: FusedKernels["attention"]): Op => (q, key, v) => {
    const y = op(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout, rotation);
    assert(y !== null);
    return layout === null || layout.rowOffsets !== null ? y : maskRows(y, layout);
  };
  await assertSameOp(name, run(k.attention), run(attentionComposite), [
    randomTensor([B, Tq, H, D], 1, 3),
    randomTensor([B, Tk, K, D], 2),
    randomTensor([B, Tk, K, D], 3),
  ]);
  layout?.dispose();
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

kernelTest("attention over joined rows equals its composite, turned and not", async (k) => {
  const N = joinedLayout().totalQueries;
  await assertSameAttention(k, "joined rows", [1, N, N, 3, 1, 20], joinedLayout());
  const { rotation, dispose } = randomRotation([1, N, 32], true);
  const dims = [1, N, N, 4, 2, 32];
  await assertSameAttention(k, "joined rows, turned", dims, joinedLayout(), rotation);
  dispose();
});

kernelTest("attention turns queries and keys as its composite does", async (k) => {
  const same = async (dims: number[], layout: AttentionLayout | null, keys: boolean) => {
    const [B, Tq, , , , D] = dims;
    const { rotation, dispose } = randomRotation([B, Tq, D], keys);
    await assertSameAttention(k, `turned [${dims}], keys ${keys}`, dims, layout, rotation);
    dispose();
  };
  await same([1, 1, 1, 1, 1, 8], null, true);
  await same([1, 70, 70, 2, 1, 32], null, true);
  for (const [T, D] of [[1, 8], [17, 12], [67, 72], [130, 64]]) {
    const layout = AttentionLayout.causal(Int32Array.from([0, Math.floor(T / 3), T - 1]), T);
    await same([3, T, T, 4, 2, D], layout, true);
  }
  for (const [prefix, branches] of [[5, [3, 1, 7]], [60, [9, 40]], [1, [1, 1]]] as const) {
    const layout = branchedLayout(prefix, branches);
    await same([2, layout.queries, layout.keys, 3, 1, 24], layout, true);
  }
  await same([2, 1, 65, 6, 2, 16], AttentionLayout.decode(Int32Array.from([0, 32]), 65), false);
  await same([2, 3, 20, 4, 2, 6 * 4], null, false);
});

kernelTest("attention turns keys by an op of its own on a CPU alone, queries never", async (k) => {
  const { rotation, dispose } = randomRotation([1, 9, 16], true);
  const x = randomTensor([1, 9, 2, 16], 1);
  const op = (x: tf.Tensor) =>
    k.attention(x as tf.Tensor4D, x as tf.Tensor4D, x as tf.Tensor4D, null, rotation)!;
  const launch = currentLaunch();
  launch.startCounting();
  const gradient = tf.grad(op)(x);
  const kernels = launch.stopCounting().map(({ kernel }) => kernel);
  const turning = kernels.filter((kernel) => kernel.startsWith("rope"));
  assertEquals(turning.length, launch.isFallback ? 2 : 0, kernels.join());
  await readBack([gradient]);
  tf.dispose([x, gradient]);
  dispose();
});

kernelTest("gradients through turned queries and keys are those of differences", async (k) => {
  const layout = AttentionLayout.causal(Int32Array.from([0, 2]), 5);
  const { rotation, dispose } = randomRotation([2, 5, 8], true);
  const op: Op = (q, key, v) =>
    k.attention(q as tf.Tensor4D, key as tf.Tensor4D, v as tf.Tensor4D, layout, rotation)!;
  await assertFiniteDifferences(op, [[2, 5, 4, 8], [2, 5, 2, 8], [2, 5, 2, 8]]);
  layout.dispose();
  dispose();
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

Deno.test("each run of queries knows which keys some of them see", () => {
  const layout = branchedLayout(5, [3, 4]);
  // Row 1 has padding up to key 2, so that its first two queries see nothing.
  assertEquals([...keyRanges(layout, 4)], [
    ...[0, 4, 0, 0],
    ...[0, 5, 5, 8],
    ...[0, 5, 8, 12],
    ...[2, 4, 0, 0],
    ...[2, 5, 5, 8],
    ...[2, 5, 8, 12],
  ]);
});

kernelTest(
  "attention without a backward pass needs four operands, with one it needs five",
  async (k) => {
    const l = currentLaunch();
    // As Chromium's SwiftShader, of which a shader can bind four textures.
    const canBind = l.canBind.bind(l);
    l.canBind = (wanted) => wanted.operands <= 4 && canBind(wanted);
    const layout = AttentionLayout.causal(Int32Array.from([0, 3]), 9);
    layout.mask(); // Made and kept now, not in a tidy.
    const turning = randomRotation([2, 9, 8], true);
    for (const rotation of [undefined, turning.rotation]) {
      const [q, key, v] = [[2, 9, 4, 8], [2, 9, 2, 8], [2, 9, 2, 8]].map((shape, i) =>
        randomTensor(shape, i + 1) as tf.Tensor4D
      );
      const got = tf.tidy(() => {
        const y = k.attention(q, key, v, layout, rotation);
        assert(y !== null, "the kernel does not run");
        return y;
      });
      const wanted = await withoutGpuKernels(() =>
        Promise.resolve(tf.tidy(() => attentionComposite(q, key, v, layout, rotation)))
      );
      const seen = [got, wanted].map((y) => tf.tidy(() => maskRows(y, layout)));
      const [values, oracle] = await readBack(seen);
      assert(oracle.some((value) => value !== 0));
      assertClose(values, oracle, 2e-5, rotation === undefined ? "plain" : "rotated");
      let inGradient: tf.Tensor | null = got;
      const gradient = tf.grad((x) => {
        inGradient = k.attention(x as tf.Tensor4D, key, v, layout);
        return x.mul(1);
      })(q);
      assertEquals(inGradient, null, "its gradients would bind five operands");
      tf.dispose([q, key, v, got, wanted, gradient, ...seen]);
    }
    layout.dispose();
    turning.dispose();
  },
);
