/** Ops of 16-bit passes in WGSL against what `src/ops/half/precision.ts` says that they compute. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { add, scale } from "../../../src/ops/arithmetic.ts";
import { attention } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { gelu, swiglu } from "../../../src/ops/activations.ts";
import { headLogProbs, headLogProbsComposite } from "../../../src/ops/head.ts";
import { linear } from "../../../src/ops/linear.ts";
import { float32ToBfloat16 } from "../../../src/ops/half/half_precision.ts";
import { PackedWeight } from "../../../src/ops/half/packed_weight.ts";
import { type HalfFormat, withPrecision } from "../../../src/ops/half/precision.ts";
import { castHalf, roundHalf, roundHalfOnHost } from "../../../src/ops/half/round_half.ts";
import { withoutGpuKernels } from "../../../src/ops/webgpu/runtime/enabled.ts";
import { assertSameRounding } from "../half/assert_same_rounding.ts";
import { joinedLayout } from "../branched_layout.ts";
import { type Op, randomTensor } from "../random_tensor.ts";
import { kernelTest } from "./webgpu_op.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];
/** The most that two neighbours of a format differ by, relative to the smaller. */
const STEP: Record<HalfFormat, number> = { bf16: 2 ** -7, fp16: 2 ** -10 };

/** Largest distance of two lists. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

/**
 * Values of the format, no further from the oracle's than a step of the largest: sums of many rounded
 * terms, some of which fell to the other side of a tie.
 */
function assertWithinStep(
  half: HalfFormat,
  got: Float32Array,
  want: Float32Array,
  name: string,
): void {
  assertEquals(got, roundHalfOnHost(got.slice(), half), `${name} has values of the format alone`);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const far = distance(got, want);
  assert(far <= largest * STEP[half], `${name}: ${far} away, the largest is ${largest}`);
}

function headComposite(half: HalfFormat, targets: Int32Array, temperature: number): Op {
  return (hidden, head) =>
    headLogProbsComposite(
      castHalf(hidden, half) as tf.Tensor2D,
      castHalf(head, half) as tf.Tensor2D,
      targets,
      temperature,
      { format: half, headIsTrained: true },
    );
}

kernelTest("the head of a 16-bit pass equals its composite", async () => {
  for (const half of FORMATS) {
    for (const [N, C, V] of [[1, 4, 2], [3, 17, 5], [5, 8, 63], [17, 8, 65], [70, 36, 1031]]) {
      for (const temperature of [1, 0.7]) {
        const targets = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
        const inputs = [randomTensor([N, C], 1), randomTensor([V, C], 2)];
        const dy = randomTensor([N], 3);
        const op: Op = (hidden, head) =>
          withPrecision(
            half,
            () => headLogProbs(hidden as tf.Tensor2D, head, targets, temperature),
          );
        const run = (op: Op) => {
          const { value, gradients } = valueAndGradients(() => op(...inputs), inputs, dy);
          return [value, ...gradients as tf.Tensor[]];
        };
        const found = run(op);
        const composite = headComposite(half, targets, temperature);
        const oracle = await withoutGpuKernels(() => Promise.resolve(run(composite)));
        const [value, dHidden, dHead, ...want] = await readBack([
          ...found,
          ...oracle,
        ]) as Float32Array[];
        const name = `head ${half} [${N}, ${C}] x ${V} / ${temperature}`;
        // A logit whose sum fell to the other side of a tie is a step off, and it alone is.
        assert(distance(value, want[0]) < (half === "bf16" ? 0.02 : 0.003), name);
        assertWithinStep(half, dHidden, want[1], name);
        assertWithinStep(half, dHead, want[2], name);
        tf.dispose([...inputs, dy, ...found, ...oracle]);
      }
    }
  }
});

kernelTest("the head of a 16-bit pass rounds what it sums over chunks once", async () => {
  const [N, C, V] = [350, 4, 50_002]; // 32 MiB hold 335 rows in 16 bits
  const targets = Int32Array.from({ length: N }, (_, i) => (i * 7919) % V);
  const inputs = [randomTensor([N, C], 1, 4), randomTensor([V, C], 2, 4)];
  const dy = randomTensor([N], 3);
  const chunked = (rows: readonly number[]) => {
    const [start, count] = rows;
    const ids = targets.subarray(start, start + count);
    return headComposite("bf16", ids, 1)(inputs[0].slice([start, 0], [count, C]), inputs[1]);
  };
  const found = valueAndGradients(
    () => withPrecision("bf16", () => headLogProbs(inputs[0] as tf.Tensor2D, inputs[1], targets)),
    inputs,
    dy,
  );
  const oracle = await withoutGpuKernels(() =>
    Promise.resolve(valueAndGradients(
      () => tf.concat([chunked([0, 175]), chunked([175, 175])]),
      inputs,
      dy,
    ))
  );
  const tensors = [found, oracle].flatMap(({ value, gradients }) => [
    value,
    ...gradients as tf.Tensor[],
  ]);
  const [value, dHidden, dHead, ...want] = await readBack(tensors) as Float32Array[];
  assert(distance(value, want[0]) < 0.15);
  assertWithinStep("bf16", dHidden, want[1], "dHidden");
  // The oracle's is a sum of two that are rounded each.
  assertWithinStep("bf16", dHead, want[2], "dHead");
  tf.dispose([...inputs, dy, ...tensors]);
});

kernelTest("a 16-bit pass adds the head's gradient to what the table has already", async () => {
  for (const half of FORMATS) {
    const targets = Int32Array.of(3, 0, 9);
    const hidden = randomTensor([3, 8], 1) as tf.Tensor2D;
    const head = randomTensor([12, 8], 2), sum = randomTensor([12, 8], 3);
    const run = (sums: (tf.Tensor | undefined)[]) =>
      valueAndGradients(
        () => withPrecision(half, () => headLogProbs(hidden, head, targets)),
        [hidden, head],
        undefined,
        sums,
      );
    const want = run([]);
    const own = tf.tidy(() => sum.add(0));
    const found = run([undefined, own]);
    const expected = tf.tidy(() => sum.add(want.gradients[1]!));
    const [x, y] = await readBack([found.gradients[1]!, expected]);
    assert(distance(x, y) === 0);
    const gradients = [...want.gradients, ...found.gradients] as tf.Tensor[];
    tf.dispose([hidden, head, sum, want.value, found.value, expected, ...gradients]);
  }
});

kernelTest("a packed head of a 16-bit pass equals the same in float32, frozen", async () => {
  for (const half of FORMATS) {
    for (const C of [8, 6]) {
      const targets = Int32Array.of(3, 0, 9);
      const hidden = randomTensor([3, C], 1) as tf.Tensor2D, values = randomTensor([12, C], 2);
      const bits = float32ToBfloat16(values.dataSync<"float32">().slice());
      const packed = new PackedWeight(bits, "BF16", [12, C]);
      const wide = tf.tidy(() => tf.variable(castHalf(values, "bf16"), false));
      const [a, b] = [packed, wide].map((head) =>
        valueAndGradients(
          () => withPrecision(half, () => headLogProbs(hidden, head, targets)),
          [hidden],
        )
      );
      const [x, y, dx, dy] = await readBack([
        ...[a.value, b.value],
        ...[a.gradients[0]!, b.gradients[0]!],
      ]);
      assert(distance(x, y) === 0 && distance(dx, dy) === 0, `${half} ${C}`);
      packed.dispose();
      tf.dispose([hidden, values, wide, a.value, b.value, a.gradients[0]!, b.gradients[0]!]);
    }
  }
});

kernelTest("the head's gradient in a 16-bit pass follows finite differences", async () => {
  const [N, C, V] = [4, 8, 24];
  const targets = Int32Array.of(3, 0, 9, 23);
  const inputs = [randomTensor([N, C], 1), randomTensor([V, C], 2)];
  const [h, W] = await readBack(inputs) as Float32Array[];
  const loss = (h: Float32Array, W: Float32Array): number => {
    let sum = 0;
    for (let n = 0; n < N; n++) {
      const logits = Array.from({ length: V }, (_, v) => {
        let logit = 0;
        for (let c = 0; c < C; c++) logit += h[n * C + c] * W[v * C + c];
        return logit;
      });
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
      sum += logits[targets[n]] - Math.log(total);
    }
    return sum;
  };
  const slopes = (values: Float32Array, loss: () => number): number[] =>
    Array.from(values, (value, i) => {
      const at = (moved: number): number => {
        values[i] = moved;
        return loss();
      };
      const slope = (at(value + 1e-2) - at(value - 1e-2)) / 2e-2;
      values[i] = value;
      return slope;
    });
  const want = [h, W].map((values) => slopes(values, () => loss(h, W)));
  for (const half of FORMATS) {
    const { value, gradients } = valueAndGradients(
      () => withPrecision(half, () => headLogProbs(inputs[0] as tf.Tensor2D, inputs[1], targets)),
      inputs,
    );
    const found = await readBack(gradients as tf.Tensor[]);
    found.forEach((slopes, i) =>
      assert(distance(slopes, want[i]) < (half === "bf16" ? 3e-2 : 5e-3), `${half} ${i}`)
    );
    tf.dispose([value, ...gradients as tf.Tensor[]]);
  }
  tf.dispose(inputs);
});

/** An op's value and gradients with our kernels and without, spelled out in tfjs ops. */
async function bothWays(half: HalfFormat, op: Op, inputs: tf.Tensor[]): Promise<Float32Array[]> {
  const dy = randomTensor(inputs[0].shape, 99);
  const run = () => {
    const { value, gradients } = valueAndGradients(
      () => withPrecision(half, () => op(...inputs)),
      inputs,
      dy,
    );
    return [value, ...gradients as tf.Tensor[]];
  };
  const found = run();
  const oracle = await withoutGpuKernels(() => Promise.resolve(run()));
  const values = await readBack([...found, ...oracle]) as Float32Array[];
  tf.dispose([dy, ...found, ...oracle]);
  return values;
}

kernelTest("SwiGLU of a 16-bit pass equals its composite, for small and large values", async () => {
  for (const half of FORMATS) {
    for (const shape of [[1], [3], [63], [65], [4, 16], [1030]]) {
      for (const size of [1e-3, 1, 10, 60]) {
        const inputs = tf.tidy(() =>
          [1, 2].map((seed) => castHalf(randomTensor(shape, seed, size), half))
        );
        const values = await bothWays(half, swiglu as Op, inputs);
        values.slice(0, 3).forEach((got, i) =>
          assertSameRounding(half, got, values[3 + i], `swiglu ${half} ${shape} x${size} ${i}`, 1)
        );
        tf.dispose(inputs);
      }
    }
  }
});

kernelTest("the gradients of a 16-bit SwiGLU follow finite differences", async () => {
  const silu = (x: number) => x / (1 + Math.exp(-x));
  for (const half of FORMATS) {
    const inputs = tf.tidy(() => [1, 2].map((seed) => castHalf(randomTensor([65], seed, 4), half)));
    const [gate, up] = await readBack(inputs);
    const { value, gradients } = valueAndGradients(
      () => withPrecision(half, () => swiglu(inputs[0], inputs[1])),
      inputs,
    );
    const [dGate, dUp] = await readBack(gradients as tf.Tensor[]);
    const slopes = Array.from(gate, (x, i) => (silu(x + 1e-4) - silu(x - 1e-4)) / 2e-4 * up[i]);
    assert(distance(dGate, slopes) < 5 * STEP[half], `${half} gate`);
    assert(distance(dUp, Array.from(gate, silu)) < 4 * STEP[half], `${half} up`);
    tf.dispose([...inputs, value, ...gradients as tf.Tensor[]]);
  }
});

kernelTest(
  "GELU of a 16-bit pass and its gradient are those of float32, rounded",
  async () => {
    for (const half of FORMATS) {
      for (const shape of [[1], [3], [65], [4, 16]]) {
        const x = tf.tidy(() => castHalf(randomTensor(shape, 1, 4), half));
        const [y, dx, value, slope] = await bothWays(half, gelu as Op, [x]);
        const name = `${half} ${shape}`;
        // Rows that are no multiple of four are not stored in 16 bits: their readers round them.
        const [gotY, gotDx, wantY, wantDx] = [y, dx, value, slope].map((values) =>
          roundHalfOnHost(values, half)
        );
        if (shape.length === 2) assertEquals([y, dx], [gotY, gotDx], "rounded already");
        assertSameRounding(half, gotY, wantY, name, 1);
        assertSameRounding(half, gotDx, wantDx, name, 1);
        x.dispose();
      }
    }
  },
);

kernelTest("a 16-bit linear layer gives the bits of one that rounds op by op", async () => {
  const DIMS = [[1, 1, 1], [3, 17, 5], [8, 64, 63], [65, 63, 33], [65, 64, 132], [300, 4, 8]];
  for (const half of FORMATS) {
    const R = <T extends tf.Tensor>(x: T): T => roundHalf(x, half);
    for (const [N, I, O] of DIMS) {
      const shapes = [[N, I], [O, I], [O], [O, I]];
      const inputs = shapes.map((shape, i) => randomTensor(shape, i + 1));
      const [x, W, b, V] = inputs;
      const dy = randomTensor([N, O], 9);
      // Two layers of one input: its second gradient is added to the first.
      const { value, gradients } = valueAndGradients(
        () => withPrecision(half, () => add(linear(x, W, b), linear(x, V))),
        inputs,
        dy,
      );
      const want = tf.tidy(() => {
        const [X, D] = [R(x), R(dy)] as tf.Tensor2D[];
        const [A, B] = [R(W), R(V)] as tf.Tensor2D[];
        const forward = (W: tf.Tensor2D) => tf.matMul(X, W, false, true);
        const dx = (W: tf.Tensor2D) => R(tf.matMul(D, W));
        const dW = R(tf.matMul(D, X, true));
        const y = R(forward(A).add(R(b))).add(R(forward(B)));
        return [y, dx(B).add(dx(A)), dW, R(D.sum(0)), dW];
      });
      const found = [value, ...gradients as tf.Tensor[]];
      const values = await readBack([...found, ...want]) as Float32Array[];
      found.forEach((_, i) => {
        const name = `linear ${half} [${N}, ${I}] → ${O}, ${i}`;
        // tfjs sums the rows of dy in another order.
        if (i === 3) assertSameRounding(half, values[i], values[5 + i], name, 1);
        else assertEquals(values[i], values[5 + i], name);
      });
      tf.dispose([...inputs, dy, ...found, ...want]);
    }
  }
});

kernelTest("attention of a 16-bit pass gives the bits of one that rounds op by op", async (k) => {
  const T = joinedLayout().totalQueries;
  const DIMS = [
    [1, 1, 1, 1, 1, 4],
    [2, 7, 7, 4, 2, 8],
    [1, 65, 65, 3, 1, 64],
    [2, 3, 63, 2, 2, 20],
    [1, T, T, 4, 2, 16],
  ];
  for (const half of FORMATS) {
    const R = (x: tf.Tensor) => roundHalf(x, half) as tf.Tensor4D;
    for (const [B, Tq, Tk, H, K, D] of DIMS) {
      for (const rows of ["all keys", "causal", "joined"]) {
        if (rows === "causal" && Tq !== Tk) continue;
        if (rows === "joined" && Tq !== T) continue;
        const layout = rows === "all keys"
          ? null
          : rows === "joined"
          ? joinedLayout()
          : AttentionLayout.causal(new Int32Array(B), Tq);
        const inputs = [[B, Tq, H, D], [B, Tk, K, D], [B, Tk, K, D]].map((shape, i) =>
          randomTensor(shape, i + 1)
        );
        const dy = randomTensor([B, Tq, H * D], 9);
        const op: Op = (q, k, v) =>
          attention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, layout);
        const found = valueAndGradients(
          () => withPrecision(half, () => op(...inputs)),
          inputs,
          dy,
        );
        const unrecorded = withPrecision(half, () => op(...inputs));
        const want = tf.tidy(() => {
          const [Q, X, V] = inputs.map(R);
          const { value, gradients } = valueAndGradients(
            () => k.attention(Q, X, V, layout)!,
            [Q, X, V],
            roundHalf(dy, half),
          );
          return [value, ...gradients as tf.Tensor[]].map((x) => roundHalf(x, half));
        });
        const tensors = [found.value, ...found.gradients as tf.Tensor[]];
        const values = await readBack([...tensors, ...want, unrecorded]);
        const name = `${half} [${B}, ${Tq}, ${Tk}, ${H}, ${K}, ${D}] ${rows}`;
        tensors.forEach((_, i) => assertEquals(values[i], values[4 + i], `${name}, ${i}`));
        assertEquals(values[8], values[0], `${name} without a backward pass`);
        layout?.dispose();
        tf.dispose([...inputs, dy, ...tensors, ...want, unrecorded]);
      }
    }
  }
});

kernelTest("a 16-bit layer with LoRA's branch equals one that rounds op by op", async () => {
  for (const half of FORMATS) {
    for (const [N, I, O, r] of [[1, 1, 1, 1], [5, 63, 17, 2], [65, 64, 132, 8]]) {
      for (const isApart of [false, true]) {
        const shapes = [[N, I], [O, I], [O], [N, I], [r, I], [O, r]];
        const tensors = shapes.map((shape, i) => randomTensor(shape, i + 1));
        const inputs = isApart ? tensors : tensors.toSpliced(3, 1);
        const dy = randomTensor([N, O], 9);
        const scaling = 0.7;
        const layer = (x: tf.Tensor, W: tf.Tensor, b: tf.Tensor, rest: tf.Tensor[]) => {
          const [loraA, loraB] = rest.slice(-2);
          const input = isApart ? rest[0] : x;
          return { loraA, loraB, scaling, input, x, W, b };
        };
        const fused: Op = (x, W, b, ...rest) => {
          const { loraA, loraB, input } = layer(x, W, b, rest);
          const branch = { loraA, loraB, scaling, ...(isApart ? { input } : {}) };
          return linear(x, W, b, { branch });
        };
        const separate: Op = (x, W, b, ...rest) => {
          const { loraA, loraB, input } = layer(x, W, b, rest);
          const side = scale(linear(linear(input, loraA), loraB), scaling);
          return castHalf(add(linear(x, W, b), side), half);
        };
        const results = [fused, separate].flatMap((op) => {
          const run = () => withPrecision(half, () => op(...inputs));
          const { value, gradients } = valueAndGradients(run, inputs, dy);
          return [value, ...gradients as tf.Tensor[]];
        });
        const unrecorded = withPrecision(half, () => fused(...inputs));
        const values = await readBack([...results, unrecorded]) as Float32Array[];
        const count = inputs.length + 1;
        for (let i = 0; i < count; i++) {
          const name = `LoRA ${half} [${N}, ${I}] → ${O}, ${i}`;
          // The gradient by x may be a sum of two that are rounded.
          if (i === 1) assert(distance(values[i], values[count + i]) < 1e-5, name);
          else assertSameRounding(half, values[i], values[count + i], name, 1);
        }
        assertEquals(values[2 * count], values[0]);
        tf.dispose([...tensors, dy, ...results, unrecorded]);
      }
    }
  }
});

kernelTest(
  "LoRA on a packed weight in a 16-bit pass equals LoRA on the same in float32",
  async () => {
    for (const half of FORMATS) {
      const [x, values, loraA, loraB] = [[5, 8], [12, 8], [2, 8], [12, 2]].map((shape, i) =>
        randomTensor(shape, i + 1)
      );
      const bits = float32ToBfloat16(values.dataSync<"float32">().slice());
      const packed = new PackedWeight(bits, "BF16", [12, 8]);
      const wide = tf.tidy(() => tf.variable(castHalf(values, "bf16"), false));
      const inputs = [x, loraA, loraB];
      const results = [packed, wide].flatMap((weight) => {
        const branch = { loraA, loraB, scaling: 2 };
        const { value, gradients } = valueAndGradients(
          () => withPrecision(half, () => linear(x, weight, undefined, { branch })),
          inputs,
        );
        return [value, ...gradients as tf.Tensor[]];
      });
      const found = await readBack(results);
      for (let i = 0; i < 4; i++) assertEquals(found[i], found[4 + i], `${half} ${i}`);
      packed.dispose();
      tf.dispose([...inputs, values, wide, ...results]);
    }
  },
);
