/**
 * Gradients of the composites by finite differences: kernels are held to composites elsewhere, so
 * that an error that both have would show here alone.
 */
import { assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { add } from "../../../src/ops/arithmetic.ts";
import { attention } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { dropout, gelu, swiglu } from "../../../src/ops/activations.ts";
import { embedding, replaceRows, selectRows } from "../../../src/ops/row_ops.ts";
import { headLogProbs } from "../../../src/ops/head.ts";
import { layerNorm, rmsNorm } from "../../../src/ops/norms.ts";
import { linear } from "../../../src/ops/linear.ts";
import { patches, pixelShuffle, rope } from "../../../src/ops/layouts.ts";
import { rotaryAngles } from "../../../src/ops/attention/rotary_angles.ts";
import { withGradient } from "../../../src/ops/tape/with_gradient.ts";
import { assertFiniteDifferences } from "../finite_differences.ts";
import type { Op } from "../random_tensor.ts";

// N rows, I input features, O output features, r rank, C channels, V vocabulary

const [N, I, O, r] = [5, 7, 6, 3];
const repeated = Int32Array.from([4, 0, 4, 2, 4]);

/** A layer with LoRA's side branch, and GELU behind it or not. */
const withBranch = (isActivated: boolean): Op => (x, weight, bias, loraA, loraB) =>
  linear(x, weight, bias, { branch: { loraA, loraB, scaling: 2 }, gelu: isActivated });
const branchShapes = [[N, I], [O, I], [O], [r, I], [O, r]];

/** Ops with their inputs' shapes. */
const CASES: Record<string, [op: Op, shapes: number[][]]> = {
  "linear": [(x, w, b) => linear(x, w, b), [[N, I], [O, I], [O]]],
  "linear of more dims, without a bias": [(x, w) => linear(x, w), [[2, 3, I], [O, I]]],
  "linear with GELU": [(x, w, b) => linear(x, w, b, { gelu: true }), [[N, I], [O, I], [O]]],
  "linear with a branch": [withBranch(false), branchShapes],
  "linear with a branch and GELU": [withBranch(true), branchShapes],
  "rmsNorm": [(x, w) => rmsNorm(x, w, 1e-5), [[N, 9], [9]]],
  "layerNorm": [(x, w, b) => layerNorm(x, w, b, 1e-6), [[N, 9], [9], [9]]],
  "gelu": [(x) => gelu(x.mul(3)), [[N, I]]],
  "swiglu": [(gate, up) => swiglu(gate.mul(3), up), [[N, I], [N, I]]],
  "add": [(x, y) => add(x, y), [[N, I], [N, I]]],
  "embedding": [(table) => embedding(table, repeated), [[6, 5]]],
  "selectRows": [(x) => selectRows(x as tf.Tensor2D, Int32Array.of(3, 1)), [[5, 4]]],
  "replaceRows": [
    (x, rows) => replaceRows(x as tf.Tensor2D, rows as tf.Tensor2D, Int32Array.of(3, 0)),
    [[5, 4], [2, 4]],
  ],
  "patches": [(images) => patches(images as tf.Tensor4D, 3), [[2, 3, 6, 6]]],
  "pixelShuffle": [(x) => pixelShuffle(x as tf.Tensor3D, 2), [[2, 16, 3]]],
  "dropout": [(x) => dropout(x, 0.4, 12345), [[N, 33]]],
  "headLogProbs": [
    (hidden, head) => headLogProbs(hidden as tf.Tensor2D, head as tf.Tensor2D, repeated, 0.7),
    [[5, 4], [9, 4]],
  ],
};

for (const [name, [op, shapes]] of Object.entries(CASES)) {
  Deno.test(`the composite's gradients by finite differences: ${name}`, async () => {
    await initBackend({ backend: "cpu" });
    await assertFiniteDifferences(op, shapes);
  });
}

Deno.test("the composite's gradients by finite differences: rope, attention", async () => {
  await initBackend({ backend: "cpu" });
  const [B, T, H, K, D] = [2, 5, 4, 2, 6];
  const positions = Int32Array.from({ length: B * T }, (_, i) => i % T);
  const angles = rotaryAngles(positions, B, {
    ...{ headDim: D, base: 100, maxPositions: 64, attentionScaling: 1 },
  });
  await assertFiniteDifferences((x) => rope(x as tf.Tensor4D, angles), [[B, T, H, D]]);
  // Without padding: the result of a query that sees no key has no meaning.
  const layout = AttentionLayout.causal(new Int32Array(B), T);
  await assertFiniteDifferences(
    (q, k, v) =>
      attention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, layout, {
        ...{ angles, keys: true },
      }),
    [[B, T, H, D], [B, T, K, D], [B, T, K, D]],
  );
  layout.dispose();
  tf.dispose([angles.cos, angles.sin]);
});

Deno.test("finite differences notice a gradient that is a hundredth off", async () => {
  await initBackend({ backend: "cpu" });
  const off: Op = (x) =>
    withGradient([x], (save) => {
      save([x]);
      return { value: x.square(), gradient: (dy, [x]) => [dy.mul(x).mul(2.02)] };
    });
  await assertRejects(() => assertFiniteDifferences(off, [[40, 40]]), Error, "by differences");
});
