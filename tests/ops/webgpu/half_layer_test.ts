/** What products of 16-bit passes sum and add beside their results. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { add, reshape } from "../../../src/ops/arithmetic.ts";
import { attention } from "../../../src/ops/attention/attention.ts";
import { AttentionLayout } from "../../../src/ops/attention/attention_layout.ts";
import { rope } from "../../../src/ops/layouts.ts";
import type { HalfProduct } from "../../../src/ops/half/half_matrix.ts";
import { type HalfFormat, withPrecision } from "../../../src/ops/half/precision.ts";
import { gelu } from "../../../src/ops/activations.ts";
import { linear } from "../../../src/ops/linear.ts";
import { gradientNorm, gradientNormComposite } from "../../../src/ops/optimizer.ts";
import { valueAndGradients } from "../../../src/ops/tape/backward.ts";
import { storedFormat } from "../../../src/ops/webgpu/runtime/half_storage.ts";
import { currentLaunch } from "../../../src/ops/webgpu/runtime/launch.ts";
import { squaresOf } from "../../../src/ops/webgpu/runtime/squares.ts";
import { assertClose } from "../assert_close.ts";
import { assertSameRounding } from "../half/assert_same_rounding.ts";
import { randomRotation } from "../random_rotation.ts";
import { randomTensor } from "../random_tensor.ts";
import { kernelTest } from "./webgpu_op.ts";

const FORMATS: readonly HalfFormat[] = ["bf16", "fp16"];

/** Rows, output and input features. */
const DIMS = [[1, 4, 4], [5, 3, 8], [65, 68, 132], [70, 132, 64], [33, 5, 7]];

kernelTest("a product with sums gives the product and the sum of A's rows", async (k) => {
  for (const half of FORMATS) {
    for (const [N, O, I] of DIMS) {
      const a = randomTensor([N, O], 1), b = randomTensor([N, I], 2), sum = randomTensor([O, I], 3);
      const product: HalfProduct = { kind: "tn", a, b, shape: [O, I] };
      const plain = k.rounding.product(half, product);
      const [found, sums] = k.rounding.productWithSums(half, product);
      const own = tf.tidy(() => sum.add(0));
      const [added, again] = k.rounding.productWithSums(half, product, own);
      assertEquals(added, own, "it is added in place");
      const want = k.rounding.columnSum(a, half);
      const total = tf.tidy(() => sum.add(plain));
      const results = [plain, found, sums, again, want, added, total];
      const [x, y, s, t, w, z, expected] = await readBack(results) as Float32Array[];
      const name = `${half} ${[N, O, I]}`;
      assertEquals(y, x, name);
      assertEquals(s, t, name);
      assertSameRounding(half, s, w, name, 1); // The order of the terms differs.
      assertEquals(z, expected, name);
      tf.dispose([a, b, sum, ...results]);
    }
  }
});

kernelTest("the gradient norm reads sums that products left, until values change", async (k) => {
  for (const half of FORMATS) {
    for (const [N, O, I] of DIMS) {
      const a = randomTensor([N, O], 1), b = randomTensor([N, I], 2);
      const gradient = k.rounding.product(half, { kind: "tn", a, b, shape: [O, I] });
      const other = randomTensor([O, I], 3);
      const expectsSums = !currentLaunch().isFallback && O % 4 === 0 && I % 4 === 0;
      assertEquals(squaresOf(gradient) !== undefined, expectsSums);
      assertEquals(storedFormat(gradient) !== undefined, O % 4 === 0 && I % 4 === 0);
      const norm = gradientNorm([gradient, other]);
      k.addTo(gradient, other);
      assertEquals(squaresOf(gradient), undefined);
      const after = gradientNorm([gradient, other]);
      // Computed again, for a composite that widens what it reads.
      const first = k.rounding.product(half, { kind: "tn", a, b, shape: [O, I] });
      const want = gradientNormComposite([first, other]);
      const wantAfter = gradientNormComposite([gradient, other]);
      const [x, y, z, w] = await readBack([norm, want, after, wantAfter]) as Float32Array[];
      assertClose(x, y, 1e-5, `${half} ${[N, O, I]}`);
      assertClose(z, w, 1e-5, `${half} ${[N, O, I]}, changed`);
      tf.dispose([a, b, gradient, other, norm, after, first, want, wantAfter]);
    }
  }
});

kernelTest("a layer with a residual has the bits of the layer and a sum", async () => {
  for (const half of FORMATS) {
    for (const [N, O, I] of DIMS) {
      const x = randomTensor([N, I], 1), weight = randomTensor([O, I], 2);
      const bias = randomTensor([O], 3), residual = randomTensor([N, O], 4);
      const dy = randomTensor([N, O], 5);
      const inputs = [x, weight, bias, residual];
      const run = (layer: () => tf.Tensor) => {
        const { value, gradients } = valueAndGradients(
          () => withPrecision(half, layer),
          inputs,
          dy,
        );
        return [value, ...gradients as tf.Tensor[]];
      };
      const found = run(() => linear(x, weight, bias, { residual }));
      const want = run(() => add(residual, linear(x, weight, bias)));
      const values = await readBack([...found, ...want]);
      const count = found.length;
      for (let i = 0; i < count; i++) {
        assertEquals(values[i], values[count + i], `${half} ${[N, O, I]}, ${i}`);
      }
      assert(values[0].some((value) => value !== 0));
      tf.dispose([...inputs, dy, ...found, ...want]);
    }
  }
});

kernelTest("a layer with GELU has the bits of the layer and GELU", async () => {
  for (const half of FORMATS) {
    for (const [N, O, I] of DIMS) {
      const x = randomTensor([N, I], 1), weight = randomTensor([O, I], 2);
      const bias = randomTensor([O], 3), dy = randomTensor([N, O], 5);
      const inputs = [x, weight, bias];
      const run = (layer: () => tf.Tensor) => {
        const { value, gradients } = valueAndGradients(
          () => withPrecision(half, layer),
          inputs,
          dy,
        );
        return [value, ...gradients as tf.Tensor[]];
      };
      const found = run(() => linear(x, weight, bias, { gelu: true }));
      const want = run(() => gelu(linear(x, weight, bias)));
      const values = await readBack([...found, ...want]);
      found.forEach((_, i) =>
        assertEquals(values[i], values[found.length + i], `${half} ${[N, O, I]}, ${i}`)
      );
      const alone = withPrecision(half, () => linear(x, weight, bias, { gelu: true }));
      const [outside] = await readBack([alone]);
      assertEquals(outside, values[0], "outside of a tape");
      tf.dispose([...inputs, dy, alone, ...found, ...want]);
    }
  }
});

kernelTest(
  "attention of a 16-bit pass rotates as a separate op does, to the same bits",
  async () => {
    // B, T, query heads, key/value heads, head dim
    const CASES = [[2, 7, 4, 2, 8], [1, 65, 3, 1, 16], [2, 5, 2, 2, 20]];
    for (const half of FORMATS) {
      for (const [B, T, H, K, D] of CASES) {
        for (const keys of [true, false]) {
          const { rotation, dispose } = randomRotation([B, T, D], keys);
          const layout = AttentionLayout.causal(new Int32Array(B), T);
          const x = randomTensor([B, T, 8], 1), dy = randomTensor([B, T, H * D], 2);
          const weights = [H, K, K].map((heads, i) => randomTensor([heads * D, 8], i + 3));
          const inputs = [x, ...weights];
          const run = (attend: (q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D) => tf.Tensor) =>
            valueAndGradients(
              () =>
                withPrecision(half, () => {
                  const [q, k, v] = weights.map((weight, i) =>
                    reshape<tf.Tensor4D>(linear(x, weight), [B, T, i === 0 ? H : K, D])
                  );
                  return attend(q, k, v);
                }),
              inputs,
              dy,
            );
          const found = run((q, k, v) => attention(q, k, v, layout, rotation));
          const want = run((q, k, v) => {
            const turned = keys ? rope(k, rotation.angles) : k;
            return attention(rope(q, rotation.angles), turned, v, layout);
          });
          const values = await readBack(
            [found, want].flatMap(({ value, gradients }) => [value, ...gradients as tf.Tensor[]]),
          );
          const count = values.length / 2;
          for (let i = 0; i < count; i++) {
            const name = `${half} ${[B, T, H, K, D]} ${keys}, ${i}`;
            assertEquals(values[i], values[count + i], name);
          }
          dispose();
          layout.dispose();
          tf.dispose([...inputs, dy, found.value, want.value]);
          tf.dispose([...found.gradients, ...want.gradients] as tf.Tensor[]);
        }
      }
    }
  },
);

kernelTest("a gradient that is stored in 16 bits is added to in float32", async () => {
  for (const half of FORMATS) {
    const x = randomTensor([6, 8], 1), dy = randomTensor([6, 12], 2);
    const [W, V] = [3, 4].map((seed) => randomTensor([12, 8], seed));
    const run = (layer: () => tf.Tensor) =>
      valueAndGradients(() => withPrecision(half, layer), [x], dy);
    const both = run(() => add(linear(x, W), linear(x, V)));
    const [one, two] = [W, V].map((weight) => run(() => linear(x, weight)));
    const sum = tf.tidy(() => two.gradients[0]!.add(one.gradients[0]!));
    const [found, want] = await readBack([both.gradients[0]!, sum]);
    assertEquals(found, want, half);
    tf.dispose([x, dy, W, V, sum]);
    for (const { value, gradients } of [both, one, two]) tf.dispose([value, gradients[0]!]);
  }
});
