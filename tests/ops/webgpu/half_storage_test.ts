/** Float32 tensors that are stored in 16 bits, and copies of weights in 16 bits. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { add } from "../../../src/ops/arithmetic.ts";
import { adamw } from "../../../src/ops/optimizer.ts";
import { adamW8Bit } from "../../../src/ops/updates/eight_bits.ts";
import {
  createState,
  disposeState,
  type StateArray,
} from "../../../src/ops/updates/state_array.ts";
import type { HalfFormat } from "../../../src/ops/half/precision.ts";
import { withPrecision } from "../../../src/ops/half/precision.ts";
import { roundHalf } from "../../../src/ops/half/round_half.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { linear } from "../../../src/ops/linear.ts";
import { layerNorm, rmsNorm } from "../../../src/ops/norms.ts";
import { rope } from "../../../src/ops/layouts.ts";
import { selectRows } from "../../../src/ops/row_ops.ts";
import { halfCopyOf } from "../../../src/ops/webgpu/runtime/half_copies.ts";
import { storedFormat } from "../../../src/ops/webgpu/runtime/half_storage.ts";
import { currentLaunch } from "../../../src/ops/webgpu/runtime/launch.ts";
import type { TfjsWebgpuBackend } from "../../../src/ops/webgpu/runtime/tfjs_backend.ts";
import { randomRotation } from "../random_rotation.ts";
import { randomTensor } from "../random_tensor.ts";
import { kernelTest } from "./webgpu_op.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];
const FILE_FORMATS = { bf16: "BF16", fp16: "F16" } as const;

/** Bytes of a tensor's buffer. */
function bufferBytes({ dataId }: tf.Tensor): number {
  const backend = tf.backend() as unknown as TfjsWebgpuBackend;
  return backend.tensorMap.get(dataId).resource!.size;
}

/** What every reader must find: subnormal, largest, infinite, NaN and ordinary values. */
function awkward(): tf.Tensor {
  const values = [1e-7, -6e-8, 3e-5, 65504, 65519.9, 65520, -1e38, Infinity, -Infinity, NaN];
  return tf.tensor2d([...values, 0.1, -0.0, 1 / 3, -2.5, 1e-30, 0], [4, 4]);
}

kernelTest("a tensor stored in 16 bits has half the bytes and the rounded values", async (k) => {
  for (const half of FORMATS) {
    const x = awkward();
    const stored = k.rounding.store(x, half);
    const want = roundHalf(x, half);
    assertEquals(storedFormat(stored), FILE_FORMATS[half]);
    assertEquals(bufferBytes(stored), 32);
    const again = k.rounding.store(stored, half);
    assertEquals(again.dataId, stored.dataId);
    const copied = tf.tidy(() => tf.concat([stored, stored], 1).slice([0, 4]));
    const [found, expected, moved] = await readBack([stored, want, copied]);
    assertEquals(found, expected, half);
    assertEquals(moved, expected, half);
    assertEquals(await stored.data(), expected, half);
    assertEquals(storedFormat(stored), undefined, "a reading of its own widens it");
    assertEquals(bufferBytes(stored), 64);
    tf.dispose([x, stored, again, want, copied]);
  }
});

kernelTest("tfjs's kernels and additions in place find float32 values", async (k) => {
  for (const half of FORMATS) {
    const [x, y] = [1, 2].map((seed) => randomTensor([6, 8], seed));
    const stored = k.rounding.store(x, half), other = k.rounding.store(y, half);
    const results = tf.tidy(() => {
      const [a, b] = [x, y].map((tensor) => roundHalf(tensor, half));
      const doubled = k.rounding.store(x, half).mul(2);
      return [doubled, a.mul(2), add(x, other), x.add(b), a.add(b)];
    });
    k.addTo(stored, other);
    const [doubled, twice, mixed, wantMixed, sum, inPlace] = await readBack([...results, stored]);
    assertEquals(doubled, twice);
    assertEquals(mixed, wantMixed);
    assertEquals(inPlace, sum);
    tf.dispose([x, y, stored, other, ...results]);
  }
});

kernelTest(
  "norms, rotary embedding and chosen rows of a 16-bit pass round as they store",
  async () => {
    for (const half of FORMATS) {
      const x = randomTensor([5, 8], 1), weight = randomTensor([8], 2), bias = randomTensor([8], 3);
      const dy = randomTensor([5, 8], 4);
      const heads = randomTensor([1, 5, 1, 8], 5) as tf.Tensor4D;
      const turned = randomRotation([1, 5, 8], false);
      const { angles } = turned.rotation;
      const rows = Int32Array.of(4, 0);
      const ops: [(x: tf.Tensor) => tf.Tensor, tf.Tensor][] = [
        [(x) => rmsNorm(x, weight, 1e-5), x],
        [(x) => layerNorm(x, weight, bias, 1e-5), x],
        [(x) => selectRows(rmsNorm(x, weight, 1e-5) as tf.Tensor2D, rows), x],
        [(x) => rope(x as tf.Tensor4D, angles), heads],
      ];
      for (const [op, input] of ops) {
        const gradient = tf.tidy(() => dy.slice([0], [op === ops[2][0] ? 2 : 5]));
        const shaped = op === ops[3][0] ? gradient.reshape(heads.shape) : gradient.clone();
        const want = valueAndGradients(() => op(input), [input], shaped);
        const found = valueAndGradients(
          () => withPrecision(half, () => op(input)),
          [input],
          shaped,
        );
        assertEquals(storedFormat(found.value), FILE_FORMATS[half]);
        const expected = roundHalf(want.value, half);
        const [value, wanted, dx, wantDx] = await readBack([
          ...[found.value, expected],
          ...[found.gradients[0]!, want.gradients[0]!],
        ]);
        assertEquals(value, wanted, half);
        const far = Array.from(dx).reduce(
          (most, v, i) => Math.max(most, Math.abs(v - wantDx[i])),
          0,
        );
        assert(far < (half === "bf16" ? 2e-2 : 2e-3), `${half}: ${far}`); // Rope's is rounded.
        tf.dispose([gradient, shaped, want.value, found.value, expected]);
        tf.dispose([...want.gradients, ...found.gradients] as tf.Tensor[]);
      }
      turned.dispose();
      tf.dispose([x, weight, bias, dy, heads]);
    }
  },
);

/** One update of `weight` by a gradient of ones. */
function update(weight: tf.Variable, moments: tf.Variable[], step: number): void {
  const gradient = tf.ones(weight.shape);
  const [firstMoment, secondMoment] = moments;
  const rates = { learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8 };
  const numbers = { ...rates, step, gradientScale: 1 };
  adamw([{ parameter: weight, gradient, firstMoment, secondMoment, numbers }]);
  gradient.dispose();
}

kernelTest("AdamW writes the 16-bit copy that products read, until the weight is set", async () => {
  for (const half of FORMATS) {
    const x = randomTensor([3, 8], 1), start = randomTensor([12, 8], 2);
    const weight = tf.tidy(() => tf.variable(start, true)) as tf.Variable;
    const own = tf.tidy(() => start.mul(1));
    weight.assign(own); // alone with its values
    own.dispose();
    const moments = [0, 1].map(() => tf.tidy(() => tf.variable(tf.zeros([12, 8]), false)));
    const layer = (weight: tf.Tensor) => withPrecision(half, () => linear(x, weight));
    const assertSame = async (hasCopy: boolean) => {
      assertEquals(halfCopyOf(weight, half) !== undefined, hasCopy);
      const plain = tf.tidy(() => weight.mul(1));
      const results = [layer(weight), layer(plain)];
      const [found, want] = await readBack(results);
      assertEquals(found, want);
      tf.dispose([plain, ...results]);
    };
    await assertSame(false);
    update(weight, moments, 1);
    await assertSame(true);
    update(weight, moments, 2);
    await assertSame(true);
    const other = randomTensor([12, 8], 7);
    weight.assign(other);
    other.dispose();
    await assertSame(false);
    update(weight, moments, 3); // of the values that were assigned
    await assertSame(true);
    const launch = currentLaunch();
    launch.forgetHostCopy(weight); // as every kernel does that writes in place
    await assertSame(false);
    // A weight that no 16-bit pass has read since the last update loses its copy.
    update(weight, moments, 4);
    const used = launch.backend.bufferManager.numBytesUsed;
    update(weight, moments, 5);
    await readBack([weight]);
    assert(launch.backend.bufferManager.numBytesUsed < used, "the copy is freed");
    tf.dispose([x, start, weight, ...moments]);
  }
});

/** AdamW in 8 bits over two steps: the weight, its copy's product and the codes of both means. */
async function eightBitSteps(
  gradients: readonly tf.Tensor[],
  half: HalfFormat | null,
): Promise<number[][]> {
  const shape = [300, 8], blocks = [Math.ceil(2400 / 256)];
  const start = randomTensor(shape, 2), x = randomTensor([3, 8], 1);
  const weight = tf.tidy(() => tf.variable(start.mul(1), true)) as tf.Variable;
  const packed = () => ({
    codes: createState({ shape, dtype: "uint8" }),
    scales: createState({ shape: blocks, dtype: "float32" }),
  });
  const first = packed(), second = packed();
  const layer = () => withPrecision(half ?? "float32", () => linear(x, weight));
  const results = [];
  const rates = { learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8 };
  for (const [i, gradient] of gradients.entries()) {
    results.push(layer());
    const numbers = { ...rates, step: i + 1, gradientScale: 0.5 };
    adamW8Bit([{ parameter: weight, gradient, first, second, numbers }]);
    if (half !== null) assert(halfCopyOf(weight, half) !== undefined, "no copy is written");
  }
  results.push(layer());
  const states = [first, second].flatMap(({ codes, scales }) => [codes, scales]);
  const values = await readBack([weight, ...results, ...states as tf.Tensor[]]);
  states.forEach((state: StateArray) => disposeState(state));
  tf.dispose([start, x, weight, ...results]);
  return values.map((one) => [...one]);
}

kernelTest("AdamW in 8 bits reads gradients in 16 bits and writes the weight's copy", async (k) => {
  for (const half of FORMATS) {
    const wide = [5, 6].map((seed) => {
      const x = randomTensor([300, 8], seed);
      const rounded = tf.tidy(() => roundHalf(x, half));
      x.dispose();
      return rounded;
    });
    const stored = wide.map((gradient) => k.rounding.store(gradient, half));
    const want = await eightBitSteps(wide, half);
    const found = await eightBitSteps(stored, half);
    assertEquals(found, want, half);
    for (const gradient of stored) assertEquals(storedFormat(gradient), FILE_FORMATS[half]);
    const [plain] = await eightBitSteps(wide, null);
    assertEquals(found[0], plain, "the copy changes nothing of the weight");
    const doubled = wide.map((gradient) => tf.tidy(() => gradient.mul(-1)));
    assert((await eightBitSteps(doubled, half))[0].some((value, i) => value !== plain[i]));
    tf.dispose([...wide, ...stored, ...doubled]);
  }
});
