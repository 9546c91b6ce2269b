/**
 * Each op of a 16-bit pass against what `src/ops/half/precision.ts` says it computes, spelled out with
 * float32 ops and one rounding after the other.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import type { BackendChoice } from "../../../src/device/backend.ts";
import { readBack } from "../../../src/device/read_back.ts";
import { attention, attentionComposite } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { gradientCheckpoint } from "../../../src/ops/tape/gradient_checkpoint.ts";
import { headLogProbs } from "../../../src/ops/head.ts";
import { linear } from "../../../src/ops/linear.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../../src/ops/half/half_precision.ts";
import { PackedWeight } from "../../../src/ops/half/packed_weight.ts";
import {
  currentPrecision,
  type HalfFormat,
  withPrecision,
} from "../../../src/ops/half/precision.ts";
import { roundHalf } from "../../../src/ops/half/round_half.ts";
import { swiglu } from "../../../src/ops/activations.ts";
import { RandomStream } from "../../../src/random.ts";
import { assertSameRounding } from "./assert_same_rounding.ts";
import { onEachBackend } from "../../generate/gpu_test_case.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];
type Op = (...inputs: tf.Tensor[]) => tf.Tensor;

function randomTensor(shape: number[], seed: number, scale = 1): tf.Tensor {
  const stream = new RandomStream(seed, "precision test");
  const size = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: size }, () => (stream.nextFloat() * 2 - 1) * scale);
  return tf.tensor(values, shape);
}

/** Runs an op in a precision, and its spelled-out value and gradients, and compares. */
async function compare(
  name: string,
  format: HalfFormat,
  op: Op,
  want: (dy: tf.Tensor) => { value: tf.Tensor; gradients: tf.Tensor[] },
  inputs: tf.Tensor[],
  outputShape: number[],
  { isHalf = true, steps = 1 } = {},
): Promise<void> {
  const before = tf.memory().numTensors;
  const dy = randomTensor(outputShape, 99);
  const got = valueAndGradients(() => withPrecision(format, () => op(...inputs)), inputs, dy);
  const oracle = tf.tidy(() => {
    const { value, gradients } = want(dy);
    return [value, ...gradients];
  });
  const all = [got.value, ...got.gradients as tf.Tensor[]];
  const values = await readBack([...all, ...oracle]) as Float32Array[];
  values.slice(0, all.length).forEach((found, i) => {
    const wanted = values[all.length + i];
    if (i > 0 || isHalf) assertSameRounding(format, found, wanted, `${name} ${format} ${i}`, steps);
    else {
      found.forEach((x, j) =>
        assert(Math.abs(x - wanted[j]) < 1e-5, `${name}: ${x}, ${wanted[j]}`)
      );
    }
  });
  tf.dispose([dy, ...all, ...oracle]);
  // An unclaimed gradient of an earlier op may have been freed.
  assert(tf.memory().numTensors <= before, `${name} leaves tensors behind`);
}

const R = (format: HalfFormat) => <T extends tf.Tensor>(x: T): T => roundHalf(x, format);

for (const format of FORMATS) {
  const r = R(format);

  onEachBackend(`a linear layer in ${format} rounds inputs, output and gradients`, async () => {
    for (const [N, I, O] of [[1, 1, 1], [3, 17, 5], [65, 63, 33]]) {
      const [x, W, b] = [randomTensor([N, I], 1), randomTensor([O, I], 2), randomTensor([O], 3)];
      const want = (dy: tf.Tensor) => {
        const [X, V, D] = [r(x), r(W), r(dy)] as tf.Tensor2D[];
        return {
          value: r(tf.matMul(X, V, false, true).add(r(b))),
          gradients: [r(tf.matMul(D, V)), r(tf.matMul(D, X, true)), r(D.sum(0))],
        };
      };
      const op = (x: tf.Tensor, W: tf.Tensor, b: tf.Tensor) => linear(x, W, b);
      await compare(`linear ${N} ${I} ${O}`, format, op as Op, want, [x, W, b], [N, O]);
      tf.dispose([x, W, b]);
    }
  });

  onEachBackend(
    `a packed weight of another format is rounded in a ${format} pass`,
    async () => {
      const values = randomTensor([7, 9], 2), x = randomTensor([4, 9], 1);
      const floats = values.dataSync<"float32">();
      for (const packedFormat of ["BF16", "F16"] as const) {
        const bits = (packedFormat === "BF16" ? float32ToBfloat16 : float32ToFloat16)(
          floats.slice(),
        );
        const packed = new PackedWeight(bits, packedFormat, [7, 9]);
        const wide = tf.tensor2d(await packed.floats(), [7, 9]);
        const want = (dy: tf.Tensor) => {
          const [X, V, D] = [r(x), r(wide), r(dy)] as tf.Tensor2D[];
          return { value: r(tf.matMul(X, V, false, true)), gradients: [r(tf.matMul(D, V))] };
        };
        await compare(`packed ${packedFormat}`, format, (x) => linear(x, packed), want, [x], [
          4,
          7,
        ]);
        wide.dispose();
        packed.dispose();
      }
      tf.dispose([values, x]);
    },
  );

  onEachBackend(`attention in ${format} rounds q, k, v, the result and gradients`, async () => {
    const [B, T, H, K, D] = [2, 7, 4, 2, 8];
    const inputs = [[B, T, H, D], [B, T, K, D], [B, T, K, D]].map((shape, i) =>
      randomTensor(shape, 10 + i)
    );
    for (const layout of [null, AttentionLayout.causal(Int32Array.of(0, 0), T)]) {
      const plain: Op = (q, k, v) =>
        attentionComposite(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, layout);
      const want = (dy: tf.Tensor) => {
        const rounded = inputs.map(r);
        const { value, gradients } = valueAndGradients(() => plain(...rounded), rounded, r(dy));
        return { value: r(value), gradients: (gradients as tf.Tensor[]).map(r) };
      };
      const op: Op = (q, k, v) =>
        attention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, layout);
      tf.tidy(() => plain(...inputs)).dispose(); // the layout keeps its mask
      await compare("attention", format, op, want, inputs, [B, T, H * D]);
      layout?.dispose();
    }
    tf.dispose(inputs);
  });

  onEachBackend(`SwiGLU in ${format} rounds silu and the product`, async () => {
    for (const size of [1, 4, 5, 67]) {
      const [g, u] = [randomTensor([size], 20, 4), randomTensor([size], 21, 4)];
      const [gate, up] = [r(g), r(u)];
      const want = (dy: tf.Tensor) => {
        const s = gate.sigmoid(), h = r(gate.mul(s)), D = r(dy);
        const slope = s.mul(gate.mul(tf.scalar(1).sub(s)).add(1));
        return { value: r(h.mul(up)), gradients: [r(r(D.mul(up)).mul(slope)), r(D.mul(h))] };
      };
      await compare(`swiglu ${size}`, format, swiglu as Op, want, [gate, up], [size]);
      tf.dispose([g, u, gate, up]);
    }
  });

  onEachBackend(
    `the head in ${format} rounds logits and their gradients, and no softmax`,
    async () => {
      const [N, C, V, temperature] = [5, 17, 1031, 0.7];
      const [hidden, head] = [randomTensor([N, C], 30, 2), randomTensor([V, C], 31)];
      const targets = Int32Array.of(0, 1, V - 1, 512, 1024);
      const want = (dy: tf.Tensor) => {
        const [h, W] = [r(hidden), r(head)] as tf.Tensor2D[];
        const logits = r(tf.matMul(h, W, false, true)).div(temperature);
        const normaliser = tf.logSumExp(logits, 1, true);
        const choice = tf.oneHot(tf.tensor1d(targets, "int32"), V);
        const slopes = choice.sub(logits.sub(normaliser).exp()).mul(dy.expandDims(1));
        const dz = r(slopes.div(temperature)) as tf.Tensor2D;
        return {
          value: logits.mul(choice).sum(1).sub(normaliser.squeeze([1])),
          gradients: [r(tf.matMul(dz, W)), r(tf.matMul(dz, h, true))],
        };
      };
      const op: Op = (h, W) => headLogProbs(h as tf.Tensor2D, W, targets, temperature);
      await compare("head", format, op, want, [hidden, head], [N], {
        isHalf: false,
        steps: 2, // sums of 1,031 rounded slopes, each of an exponential that has its own error
      });
      tf.dispose([hidden, head]);
    },
  );

  onEachBackend(`a checkpointed block is run again in ${format}`, async () => {
    const [x, W] = [randomTensor([3, 9], 40), randomTensor([5, 9], 41)];
    const run = (checkpointed: boolean) => {
      const op = ([x, W]: tf.Tensor[]) => linear(x, W);
      return valueAndGradients(
        () =>
          withPrecision(format, () => checkpointed ? gradientCheckpoint(op, [x, W]) : op([x, W])),
        [x, W],
      );
    };
    const [plain, again] = [run(false), run(true)];
    const tensors = [plain, again].map((
      { value, gradients },
    ) => [value, ...gradients as tf.Tensor[]]);
    const [a, b] = await Promise.all(tensors.map((list) => readBack(list)));
    assertEquals(a, b);
    tf.dispose([x, W, ...tensors.flat()]);
  });

  onEachBackend(`a frozen head in ${format} has no gradient of its own`, async () => {
    const hidden = randomTensor([3, 8], 50) as tf.Tensor2D;
    const values = randomTensor([20, 8], 51);
    const frozen = tf.variable(values, false);
    const targets = Int32Array.of(1, 2, 3);
    const run = (head: tf.Tensor) =>
      valueAndGradients(() => withPrecision(format, () => headLogProbs(hidden, head, targets)), [
        hidden,
      ]);
    const [a, b] = [run(frozen), run(values)];
    const [x, y] = await readBack([a.gradients[0]!, b.gradients[0]!]);
    assertEquals(x, y);
    tf.dispose([hidden, values, frozen, a.value, b.value, a.gradients[0]!, b.gradients[0]!]);
  });
}

onEachBackend("a 16-bit pass leaves float32 ops outside of it as they are", async () => {
  const [x, W] = [randomTensor([3, 9], 60), randomTensor([5, 9], 61)];
  const before = linear(x, W);
  const inside = withPrecision("bf16", () => linear(x, W));
  const after = linear(x, W);
  const [a, b, c] = await readBack([before, inside, after]);
  assertEquals(a, c);
  assert(a.some((value, i) => value !== b[i]));
  tf.dispose([x, W, before, inside, after]);
}, ["wasm", "cpu"] satisfies BackendChoice[]);

Deno.test("withPrecision() restores the precision, also if its function throws", () => {
  withPrecision("bf16", () => {
    assertThrows(() =>
      withPrecision("fp16", () => {
        throw new Error("x");
      })
    );
    assertEquals(currentPrecision(), "bf16");
  });
  assertEquals(currentPrecision(), "float32");
});
