import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { add } from "../../../src/ops/arithmetic.ts";
import { attention } from "../../../src/ops/attention/attention.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { gelu, swiglu } from "../../../src/ops/activations.ts";
import { bfloat16ToFloat32, float16ToFloat32 } from "../../../src/ops/half/half_precision.ts";
import { linear } from "../../../src/ops/linear.ts";
import { wordKernels } from "../../../src/ops/fused_kernels.ts";
import { packHalf, sharedKeptHalf, unpackHalf } from "../../../src/ops/half/pack_half.ts";
import { type HalfFormat, withPrecision } from "../../../src/ops/half/precision.ts";
import { roundHalf } from "../../../src/ops/half/round_half.ts";
import { peakTensorBytes } from "../../../src/train/dry_run/peak_tensor_bytes.ts";
import { onEachBackend } from "../../generate/gpu_test_case.ts";
import { randomTensor } from "../random_tensor.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];

/** Every number of a format, by its bits: 65,536 of them. */
function patterns(format: HalfFormat): Float32Array {
  const bits = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  return format === "bf16" ? bfloat16ToFloat32(bits) : float16ToFloat32(bits);
}

/** float32's own subnormal numbers, which a GPU may take for zero. */
const isTiny = (value: number): boolean => value !== 0 && Math.abs(value) < 2 ** -126;

/** Packed and unpacked. */
async function throughWords(values: Float32Array, format: HalfFormat): Promise<Float32Array> {
  const x = tf.tensor1d(values);
  const words = packHalf(x, format);
  assertEquals([words.dtype, words.size], ["int32", Math.ceil(values.length / 2)]);
  const y = unpackHalf(words, format, x.shape);
  const [found] = await readBack([y]);
  tf.dispose([x, words, y]);
  return found as Float32Array;
}

/** Equal as `Object.is` has it: the sign of zero counts, the payload of a NaN does not. */
function assertSame(got: Float32Array, want: Float32Array, name: string): void {
  assertEquals(got.length, want.length, name);
  const wrong = want.findIndex((value, i) => !Object.is(got[i], value));
  assert(wrong < 0, `${name}: ${wrong} is ${got[wrong]}, want ${want[wrong]}`);
}

for (const format of FORMATS) {
  onEachBackend(
    `packing keeps every ${format}: subnormal numbers, infinities and NaN too`,
    async (backend) => {
      const all = patterns(format).map((value) =>
        backend === "webgpu" && isTiny(value) ? 0 : value
      );
      assertSame(await throughWords(all, format), all, format);
    },
  );

  onEachBackend(`packing to ${format} rounds as roundHalf() does, at odd sizes too`, async () => {
    for (const size of [1, 2, 3, 4, 7, 9, 63, 65, 4097, 200_003]) {
      const scale = 2 ** (size % 40 - 20);
      const x = tf.tidy(() => randomTensor([size], size).mul(scale));
      const y = roundHalf(x, format);
      const [values, rounded] = await readBack([x, y]) as Float32Array[];
      assertSame(await throughWords(values, format), rounded, `${size} numbers`);
      tf.dispose([x, y]);
    }
  });
}

onEachBackend("what overflows fp16 is packed as infinity, with its sign", async () => {
  const values = Float32Array.of(65_519, 65_520, -65_520, 1e38, -Infinity, NaN, -0);
  const want = Float32Array.of(65_504, Infinity, -Infinity, Infinity, -Infinity, NaN, -0);
  assertSame(await throughWords(values, "fp16"), want, "fp16");
});

onEachBackend("an infinite activation of an fp16 pass shows in the weight's gradient", async () => {
  const x = tf.tensor2d([[1e6, 1], [0.5, 2]]), W = randomTensor([3, 2], 1);
  const { value, gradients } = valueAndGradients(
    () => withPrecision("fp16", () => linear(x, W)),
    [W],
  );
  const [dW] = await readBack([gradients[0]!]);
  assert(!Number.isFinite(dW[0]) && Number.isFinite(dW[1]), `${dW}`);
  tf.dispose([x, W, value, gradients[0]!]);
});

onEachBackend("ops that read one tensor share its packed copy while their scope lasts", () => {
  const x = randomTensor([5, 4], 1);
  const before = tf.memory().numTensors;
  const inScope = () =>
    tf.tidy(() => {
      const words = sharedKeptHalf(x, "bf16");
      assertStrictEquals(sharedKeptHalf(x.reshape([20]), "bf16"), words);
      const others = sharedKeptHalf(x, "fp16");
      assert(others !== words && !others.isDisposed);
    });
  inScope();
  assertEquals(tf.memory().numTensors, before);
  inScope(); // what the first scope freed is not handed out again
  x.dispose();
  return Promise.resolve();
});

/** Bytes that are kept from the forward pass for the backward pass. */
async function keptBytes(op: () => tf.Tensor, inputs: tf.Tensor[]): Promise<number> {
  let kept = 0;
  await peakTensorBytes((heldBytes) => {
    const { value, gradients } = valueAndGradients(() => {
      const value = tf.tidy(op);
      kept = heldBytes() - (wordKernels()?.bytesOf?.(value) ?? 4 * value.size);
      return value;
    }, inputs);
    tf.dispose([value, ...gradients as tf.Tensor[]]);
    return Promise.resolve();
  });
  return kept;
}

for (const format of FORMATS) {
  onEachBackend(`a ${format} pass keeps what its ops read in 16 bits, once`, async () => {
    const [N, I] = [6, 8];
    const x = randomTensor([N, I], 1), z = randomTensor([N, I], 2);
    const W = randomTensor([I, I], 3), V = randomTensor([I, I], 4);
    const frozen = tf.tidy(() => tf.variable(W, false));
    const q = x.reshape([1, N, 2, 4]) as tf.Tensor4D;
    const cases: [name: string, op: () => tf.Tensor, inputs: tf.Tensor[], numbers: number][] = [
      ["layers of one input", () => add(linear(x, W), linear(x, V)), [x, W, V], N * I],
      ["GELU", () => gelu(x), [x], N * I],
      ["SwiGLU", () => swiglu(x, z), [x, z], 2 * N * I],
      ["attention", () => attention(q, q, q, null), [q], 3 * N * I],
      ["a frozen layer", () => linear(x, frozen), [x], 0],
    ];
    for (const [name, op, inputs, numbers] of cases) {
      assertEquals(await keptBytes(() => withPrecision(format, op), inputs), 2 * numbers, name);
    }
    tf.dispose([x, z, W, V, frozen, q]);
  });
}
