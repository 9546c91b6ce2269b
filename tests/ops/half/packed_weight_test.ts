import { assert, assertEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { assertNoGpuErrors } from "../../../src/device/gpu_errors.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import {
  embedding,
  embeddingOnDevice,
  gatherPackedRowsComposite,
} from "../../../src/ops/row_ops.ts";
import { float32ToBfloat16, float32ToFloat16 } from "../../../src/ops/half/half_precision.ts";
import { headLogProbs, packedHeadLogProbsComposite } from "../../../src/ops/head.ts";
import { linear, packedLinearComposite } from "../../../src/ops/linear.ts";
import { type PackedFormat, PackedWeight, widenBits } from "../../../src/ops/half/packed_weight.ts";
import { unpackWeight, unpackWords } from "../../../src/ops/half/unpack_weight.ts";
import { describeDevice } from "../../../src/ops/webgpu/runtime/launch.ts";
import { RandomStream } from "../../../src/random.ts";
import { gpuTest } from "../../gpu_adapter.ts";
import { assertClose } from "../assert_close.ts";

// N rows, I input features, O output features, V vocabulary, C channels

const FORMATS: readonly PackedFormat[] = ["BF16", "F16"];
/** [N, O, I]: few rows, many rows, odd numbers of values, rows that end off a lane, two blocks. */
const SHAPES = [[1, 1, 1], [2, 3, 5], [3, 7, 9], [4, 5, 64], [7, 65, 63], [9, 33, 17], [
  70,
  130,
  129,
], [6, 300, 1030]];

function randomValues(size: number, seed: number): Float32Array {
  const stream = new RandomStream(seed, "packed test");
  return Float32Array.from({ length: size }, () => stream.nextFloat() * 2 - 1);
}

function pack(values: Float32Array, format: PackedFormat, shape: number[]): PackedWeight {
  const bits = format === "BF16" ? float32ToBfloat16(values) : float32ToFloat16(values);
  return new PackedWeight(bits, format, shape);
}

/** A random weight, packed, and the float32 tensor of the very same values. */
async function twins(
  format: PackedFormat,
  shape: [number, number],
  seed: number,
): Promise<{ packed: PackedWeight; wide: tf.Tensor2D }> {
  const packed = pack(randomValues(shape[0] * shape[1], seed), format, shape);
  return { packed, wide: tf.tensor2d(await packed.floats(), shape) };
}

/** Value and gradient of x for a random gradient of the output. */
async function run(f: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor): Promise<Float32Array[]> {
  const y = f(x);
  const dy = tf.tensor(randomValues(y.size, 99), y.shape);
  const { value, gradients } = valueAndGradients(() => f(x), [x], dy);
  const results = [await value.data(), await gradients[0]!.data()] as Float32Array[];
  tf.dispose([y, dy, value, ...gradients as tf.Tensor[]]);
  return results;
}

async function compareLinear(
  packedLinear: typeof linear | typeof packedLinearComposite,
  tolerance: number,
): Promise<void> {
  for (const format of FORMATS) {
    for (const [N, O, I] of SHAPES) {
      const { packed, wide } = await twins(format, [O, I], 1);
      const x = tf.tensor2d(randomValues(N * I, 2), [N, I]);
      for (const bias of [undefined, tf.tensor1d(randomValues(O, 3))]) {
        const name = `${format} [${N}, ${I}] by [${O}, ${I}]${bias ? " with bias" : ""}`;
        const got = await run((x) => packedLinear(x, packed, bias), x);
        const want = await run((x) => linear(x, wide, bias), x);
        assertClose(got[0], want[0], tolerance, `${name}, value`);
        assertClose(got[1], want[1], tolerance, `${name}, gradient`);
        bias?.dispose();
      }
      tf.dispose([x, wide]);
      packed.dispose();
    }
  }
}

async function compareEmbedding(): Promise<void> {
  for (const format of FORMATS) {
    for (const C of [1, 5, 8, 30]) {
      const { packed, wide } = await twins(format, [11, C], 4);
      const ids = Int32Array.from([3, 10, 0, 3, 7]);
      const onDevice = tf.tensor1d(ids, "int32");
      const want = await tf.gather(wide, onDevice).data();
      assertEquals(await embedding(packed, ids).data(), want, `${format} ${C}`);
      assertEquals(await embeddingOnDevice(packed, onDevice).data(), want, `${format} ${C}`);
      assertEquals(await gatherPackedRowsComposite(packed, onDevice).data(), want);
      packed.dispose();
    }
  }
}

async function compareHead(
  head: typeof headLogProbs | typeof packedHeadLogProbsComposite,
  tolerance: number,
): Promise<void> {
  for (const format of FORMATS) {
    for (const [N, V, C] of [[1, 2, 1], [5, 63, 7], [3, 1025, 20], [200, 70, 33]]) {
      const { packed, wide } = await twins(format, [V, C], 5);
      const hidden = tf.tensor2d(randomValues(N * C, 6), [N, C]);
      const targets = Int32Array.from({ length: N }, (_, i) => (i * 31) % V);
      const got = await run((h) => head(h as tf.Tensor2D, packed, targets, 0.7), hidden);
      const want = await run((h) => headLogProbs(h as tf.Tensor2D, wide, targets, 0.7), hidden);
      const name = `${format} head [${V}, ${C}] of ${N} rows`;
      assertClose(got[0], want[0], tolerance, `${name}, value`);
      assertClose(got[1], want[1], tolerance, `${name}, gradient`);
      tf.dispose([hidden, wide]);
      packed.dispose();
    }
  }
}

/** Bits of floats, with every NaN made the same. */
function bitsOf(values: Float32Array): number[] {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Array.from(words, (word, i) => Number.isNaN(values[i]) ? 0x7fc00000 : word);
}

async function allBits(
  widen: (weight: PackedWeight) => tf.Tensor,
  except: (bits: number) => boolean,
) {
  const every = Uint16Array.from({ length: 65_535 }, (_, i) => i); // an odd number of them
  for (const format of FORMATS) {
    const weight = new PackedWeight(every, format, [1, every.length]);
    const got = bitsOf(await widen(weight).data() as Float32Array);
    const want = bitsOf(widenBits(every, format));
    const wrong = got.findIndex((word, i) => word !== want[i] && !except(want[i]));
    assert(wrong < 0, `${format} ${wrong?.toString(16)}: got ${got[wrong]}, want ${want[wrong]}`);
    weight.dispose();
  }
}

for (const backend of ["wasm", "cpu"] as const) {
  const on = (name: string, body: () => Promise<void>) =>
    Deno.test(`${name} (${backend})`, async () => {
      await initBackend({ backend });
      await body();
    });

  on("a packed weight gives back the bits that it was made of", async () => {
    for (const size of [1, 2, 5, 64]) {
      const bits = Uint16Array.from({ length: size }, (_, i) => (i * 40_503) & 0xffff);
      const weight = new PackedWeight(bits, "F16", [1, size]);
      assertEquals(await weight.bits(), bits);
      assertEquals(weight.byteLength, 4 * Math.ceil(size / 2));
      weight.dispose();
    }
  });

  on(
    "every 16-bit pattern is widened exactly, NaN, infinity and subnormal numbers too",
    async () => {
      await allBits(unpackWeight, () => false);
      await allBits(({ words, format, shape }) => unpackWords(words, format, shape), () => false);
    },
  );

  on("a packed linear layer equals its float32 twin, forward and back", async () => {
    await compareLinear(linear, 1e-6);
    await compareLinear(packedLinearComposite, 1e-6);
  });

  on("an infinite or NaN weight shows in the product", async () => {
    for (const N of [1, 6]) {
      const weight = new PackedWeight(Uint16Array.of(0x7f80, 0x3f80, 0x7fc0, 0x3f80), "BF16", [
        2,
        2,
      ]);
      const y = await linear(tf.ones([N, 2]), weight).data();
      assertEquals([y[0], y[1]], [Infinity, NaN]);
      weight.dispose();
    }
  });

  on("the gradient of a packed linear layer's input is that of finite differences", async () => {
    const { packed } = await twins("F16", [5, 6], 7);
    const values = randomValues(12, 8);
    const loss = (x: Float32Array) =>
      linear(tf.tensor2d(x, [2, 6]), packed).square().sum().dataSync()[0];
    const x = tf.tensor2d(values, [2, 6]);
    const { gradients } = valueAndGradients(() => linear(x, packed).square().sum(), [x]);
    const got = await gradients[0]!.data();
    const want = values.map((_, i) => {
      const at = (step: number) => loss(values.map((v, j) => i === j ? v + step : v));
      return (at(0.01) - at(-0.01)) / 0.02;
    });
    assertClose(got, want, 1e-3, "dx");
    packed.dispose();
  });

  on("rows of a packed table equal those of its float32 twin", compareEmbedding);

  on("a packed head equals its float32 twin, forward and back", async () => {
    await compareHead(headLogProbs, 2e-6);
    await compareHead(packedHeadLogProbsComposite, 2e-6);
  });

  on("ops on packed weights leave no tensors behind", async () => {
    const { packed, wide } = await twins("BF16", [9, 6], 9);
    const x = tf.tensor2d(randomValues(30, 10), [5, 6]);
    const pass = () => {
      const { value, gradients } = valueAndGradients(() => {
        const y = linear(linear(x, packed), wide.transpose()) as tf.Tensor2D;
        return headLogProbs(y, packed, Int32Array.of(1, 2, 3, 4, 5)).sum();
      }, [x]);
      tf.dispose([value, ...gradients as tf.Tensor[]]);
    };
    pass();
    const before = tf.memory().numTensors;
    pass();
    assertEquals(tf.memory().numTensors, before);
    packed.dispose();
    tf.dispose([wide, x]);
  });
}

Deno.test("a packed weight refuses bits that are not of its shape", () => {
  assertThrows(
    () => new PackedWeight(new Uint16Array(5), "F16", [2, 3]),
    Error,
    "the shape needs 6",
  );
});

for (const isFallback of [true, false]) {
  const family = isFallback ? "textures" : "tiles";
  gpuTest(`packed weights on webgpu equal their float32 twins (${family})`, async () => {
    const backend = await initBackend({ backend: "webgpu" });
    describeDevice(backend.device!, isFallback);
    // A GPU may take a subnormal float32 for 0 as it writes it.
    const subnormal = (word: number) => (word & 0x7f800000) === 0 && (word & 0x7fffff) !== 0;
    await allBits(unpackWeight, subnormal);
    await compareLinear(linear, 1e-5);
    await compareEmbedding();
    await compareHead(headLogProbs, 1e-5);
    assertNoGpuErrors();
    backend.dispose();
    await initBackend({ backend: "wasm" });
  });
}
