import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { assertClose } from "../assert_close.ts";
import { randomTensor } from "../random_tensor.ts";
import { kernels, SIZES } from "./wasm_op.ts";

Deno.test("adamW equals the formula, and refuses values that are shared", async () => {
  const k = await kernels();
  for (const size of SIZES) {
    const [w, g, m] = [1, 2, 3].map((seed) => randomTensor([size], seed));
    const v = randomTensor([size], 4, 0.4, 0.5);
    const numbers = {
      learningRate: 0.01,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      step: 3,
      gradientScale: 0.5,
    };
    const [W, G, M, V] = [w, g, m, v].map((x) => Array.from(x.dataSync()));
    const update = { parameter: w, gradient: g, firstMoment: m, secondMoment: v, numbers };
    assertEquals(k.adamW([update]), []);
    const [gotW, gotM, gotV] = [w, m, v].map((x) => x.dataSync());
    for (let i = 0; i < size; i++) {
      const gradient = G[i] * 0.5;
      const first = 0.9 * M[i] + 0.1 * gradient;
      const second = 0.999 * V[i] + 0.001 * gradient ** 2;
      const update = (first / (1 - 0.9 ** 3)) / (Math.sqrt(second / (1 - 0.999 ** 3)) + 1e-8);
      assertClose([gotW[i]], [W[i] * (1 - 0.001) - 0.01 * update], 1e-6, `w ${i}`);
      assertClose([gotM[i], gotV[i]], [first, second], 1e-6, `moments ${i}`);
    }
    const shared = w.clone();
    assertEquals(k.adamW([update]), [update]);
    assertEquals(shared.dataSync(), gotW);
    tf.dispose([w, g, m, v, shared]);
  }
});

Deno.test("the first step of adamW takes as much of a gradient as its betas say, to a float's digits", async () => {
  const k = await kernels();
  const [parameter, gradient] = [randomTensor([65], 1), randomTensor([65], 2, 1, 2)];
  const [firstMoment, secondMoment] = [tf.zeros([65]), tf.zeros([65])];
  const numbers = {
    ...{ learningRate: 0.01, weightDecay: 0, beta1: 0.9, beta2: 0.999, eps: 0 },
    ...{ step: 1, gradientScale: 1 },
  };
  const g = gradient.dataSync();
  k.adamW([{ parameter, gradient, firstMoment, secondMoment, numbers }]);
  const [first, second] = [firstMoment.dataSync(), secondMoment.dataSync()];
  g.forEach((g, i) => {
    assert(Math.abs(first[i] / (0.1 * g) - 1) < 3e-7, `${first[i] / g}`);
    assert(Math.abs(second[i] / (0.001 * g * g) - 1) < 3e-7, `${second[i] / g ** 2}`);
  });
  tf.dispose([parameter, gradient, firstMoment, secondMoment]);
});

Deno.test("adamW with moments outside the heap gives the same bits, chunk after chunk", async () => {
  const k = await kernels();
  for (const size of [1, 65, 64 * 1024 + 3]) {
    const numbers = {
      learningRate: 0.01,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.95,
      eps: 1e-8,
      step: 2,
      gradientScale: 1,
    };
    const [w, g, m] = [1, 2, 3].map((seed) => randomTensor([size], seed));
    const v = randomTensor([size], 4, 0.4, 0.5);
    const w2 = randomTensor([size], 1);
    const [first, second] = [m, v].map((x) => x.dataSync() as Float32Array);
    const update = { parameter: w, gradient: g, firstMoment: m, secondMoment: v, numbers };
    assertEquals(k.adamW([update]), []);
    assert(k.adamWHost(w2, g, first, second, numbers));
    assertEquals(w2.dataSync(), w.dataSync());
    assertEquals(first, m.dataSync());
    assertEquals(second, v.dataSync());
    tf.dispose([w, g, m, v, w2]);
  }
});

Deno.test("the gradient norm and the column sum equal plain loops", async () => {
  const k = await kernels();
  for (const size of SIZES) {
    tf.tidy(() => {
      const x = randomTensor([5, size], 1);
      const y = randomTensor([size], 2);
      const values = [...x.dataSync(), ...y.dataSync()];
      const norm = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
      assertClose(k.gradientNorm([x, y]).dataSync(), [norm], 1e-6, `norm ${size}`);
      assertClose(k.columnSum(x).dataSync(), x.sum(0).dataSync(), 1e-6, `sum ${size}`);
    });
  }
});
