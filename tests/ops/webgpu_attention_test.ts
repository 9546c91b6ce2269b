import { assert, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { attentionComposite } from "../../src/ops/attention.ts";
import { AttentionLayout } from "../../src/ops/attention_layout.ts";
import { queryRanges } from "../../src/ops/webgpu/attention.ts";
import type { GpuKernels } from "../../src/ops/webgpu/kernels.ts";
import { type Op, randomTensor } from "./random_tensor.ts";
import { assertSameOp, kernelTest } from "./webgpu_op.ts";
import { branchedLayout } from "./branched_layout.ts";

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
