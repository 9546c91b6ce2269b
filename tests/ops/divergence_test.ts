import { assert, assertAlmostEquals, assertThrows } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../src/device/backend.ts";
import { divergenceRows } from "../../src/ops/divergence.ts";
import { headDivergenceRows } from "../../src/ops/head_rows.ts";
import { lossGradients } from "../../src/train/loop/gradients.ts";
import { cases } from "../losses/trl/recorded.ts";

await initBackend({ backend: "wasm" });

const V = cases.vocabulary, N = cases.lengths.length, P = cases.input_ids[0].length;

/** Numbers of the positions whose next token is of an answer. */
const counted = cases.lengths.flatMap((length, n) => Array.from({ length }, (_, t) => n * P + t));

const rowsOf = (logits: readonly number[]) =>
  tf.tensor2d(counted.flatMap((row) => logits.slice(row * V, (row + 1) * V)), [counted.length, V]);

for (const { beta, temperature, loss, gradient } of cases.gkd) {
  Deno.test(`divergenceRows() with beta ${beta} and temperature ${temperature} is TRL's loss and gradient`, () => {
    const student = tf.tidy(() => tf.variable(rowsOf(cases.logits)));
    const teacher = rowsOf(cases.ref_logits);
    const own = student as unknown as tf.Tensor2D;
    const mean = () => divergenceRows(own, teacher, { beta, temperature }).mean() as tf.Scalar;
    const got = lossGradients(mean, new Map([["student", student]]));
    assertAlmostEquals(got.loss.dataSync()[0], loss, 1e-6);
    const expected = new Float64Array(N * P * V);
    const slopes = got.gradients.get("student")!.dataSync();
    counted.forEach((row, m) => expected.set(slopes.subarray(m * V, (m + 1) * V), row * V));
    gradient.forEach((value, i) => assertAlmostEquals(expected[i], value, 1e-6, `logit ${i}`));
    tf.dispose([student, teacher, got.loss, ...got.gradients.values()]);
  });
}

for (const beta of [0, 0.3, 0.5, 1]) {
  for (const [n, C, vocabulary] of [[1, 3, 2], [5, 4, 7], [65, 8, 33]]) {
    Deno.test(`headDivergenceRows() of [${n}, ${C}] and ${vocabulary} tokens, beta ${beta}: finite differences`, () => {
      const hidden = tf.variable(tf.randomNormal([n, C], 0, 1, "float32", 1));
      const head = tf.variable(tf.randomNormal([vocabulary, C], 0, 1, "float32", 2));
      const teacher = tf.randomNormal([n, vocabulary], 0, 2, "float32", 4) as tf.Tensor2D;
      const weights = tf.randomNormal([n], 0, 1, "float32", 3);
      const states = hidden as unknown as tf.Tensor2D, table = head as unknown as tf.Tensor2D;
      const rows = (first: number, count: number) => teacher.slice([first, 0], [count, -1]);
      const sum = () =>
        headDivergenceRows(states, table, rows, { beta, temperature: 0.7 })
          .mul(weights).sum() as tf.Scalar;
      const parameters = new Map([["hidden", hidden], ["head", head]]);
      const { numTensors } = tf.memory();
      const { loss, gradients } = lossGradients(sum, parameters);
      assert(tf.memory().numTensors === numTensors + 3, "nothing is left but loss and gradients");
      for (const [name, variable] of parameters) {
        const gradient = gradients.get(name)!.dataSync(), at = variable.dataSync().slice();
        for (const i of [0, at.length >> 1, at.length - 1]) {
          const value = (change: number) => {
            const moved = at.slice();
            moved[i] += change;
            tf.tidy(() => variable.assign(tf.tensor(moved, variable.shape)));
            return tf.tidy(sum).dataSync()[0];
          };
          const difference = (value(1e-2) - value(-1e-2)) / 2e-2;
          tf.tidy(() => variable.assign(tf.tensor(at, variable.shape)));
          assertAlmostEquals(
            gradient[i],
            difference,
            3e-3 * Math.max(1, Math.abs(difference)),
            name,
          );
        }
      }
      tf.dispose([loss, hidden, head, teacher, weights, ...gradients.values()]);
    });
  }
}

Deno.test("divergenceRows() is 0 for equal logits and not below it for others", () => {
  const logits = tf.randomNormal([9, 11], 0, 3, "float32", 5) as tf.Tensor2D;
  const others = tf.randomNormal([9, 11], 0, 3, "float32", 6) as tf.Tensor2D;
  for (const beta of [0, 0.1, 0.5, 1]) {
    for (const value of divergenceRows(logits, logits, { beta }).dataSync()) {
      assertAlmostEquals(value, 0, 1e-6);
    }
    assert(divergenceRows(logits, others, { beta }).dataSync().every((value) => value > 0));
  }
});

Deno.test("divergenceRows() near beta 0 and 1 is beta times the one limit, and 1 - beta times the other", () => {
  const p = tf.randomNormal([4, 6], 0, 1, "float32", 7) as tf.Tensor2D;
  const q = tf.randomNormal([4, 6], 0, 1, "float32", 8) as tf.Tensor2D;
  const of = (beta: number) => divergenceRows(q, p, { beta }).dataSync();
  const at0 = of(0), at1 = of(1), small = 1e-2;
  of(small).forEach((value, i) => assertAlmostEquals(value / small / at0[i], 1, 0.1));
  of(1 - small).forEach((value, i) => assertAlmostEquals(value / small / at1[i], 1, 0.1));
});

Deno.test("divergenceRows() refuses other vocabularies and betas", () => {
  const logits = tf.zeros([2, 3]) as tf.Tensor2D, wider = tf.zeros([2, 4]) as tf.Tensor2D;
  assertThrows(() => divergenceRows(logits, wider, { beta: 0.5 }), RangeError, "[2,4]");
  for (const beta of [-0.1, 1.5, NaN]) {
    assertThrows(() => divergenceRows(logits, logits, { beta }), RangeError, "from 0 to 1");
  }
});
