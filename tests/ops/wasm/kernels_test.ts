import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { wasmHeap } from "../../../src/device/wasm_heap.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { geluComposite, swigluComposite } from "../../../src/ops/activations.ts";
import { layerNormComposite, rmsNormComposite } from "../../../src/ops/norms.ts";
import { linearComposite } from "../../../src/ops/linear.ts";
import { ropeComposite } from "../../../src/ops/layouts.ts";
import { rotaryAngles } from "../../../src/ops/attention/rotary_angles.ts";
import { assertClose } from "../assert_close.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { assertSameOp, kernels, SIZES } from "./wasm_op.ts";

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

Deno.test("the heap's level stays the same over many kernel runs", async () => {
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
