import { assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { initBackend } from "../../../src/device/backend.ts";
import { lossGradients } from "../../../src/train/loop/gradients.ts";
import { tokenLosses } from "../../../src/train/sft/token_losses.ts";
import { assertLogitGradient, cases, policy, tokenLogProbs } from "../../losses/trl/recorded.ts";

await initBackend({ backend: "wasm" });

Deno.test("dft: loss and gradient are TRL's", () => {
  const values = cases.lengths.map((_, n) => tokenLogProbs(policy, n));
  const logProbs = tf.variable(tf.tensor1d(values.flat()));
  const { loss, gradients } = lossGradients(
    () => tokenLosses.dft(logProbs as unknown as tf.Tensor1D).mean() as tf.Scalar,
    new Map([["log_probs", logProbs]]),
  );
  assertAlmostEquals(loss.dataSync()[0], cases.dft.loss, 1e-6);
  const slopes = Array.from(gradients.get("log_probs")!.dataSync());
  let at = 0;
  const byAnswer = values.map(({ length }) => slopes.slice(at, at += length));
  assertLogitGradient(byAnswer, cases.dft.gradient, undefined, 1e-7);
  tf.dispose([loss, logProbs, ...gradients.values()]);
});

Deno.test("dft holds the probability constant: the slope is −p, not the derivative of −p log p", () => {
  const logProbs = tf.variable(tf.tensor1d([-0.5, -3]));
  const { loss, gradients } = lossGradients(
    () => tokenLosses.dft(logProbs as unknown as tf.Tensor1D).sum() as tf.Scalar,
    new Map([["log_probs", logProbs]]),
  );
  const slopes = gradients.get("log_probs")!.dataSync();
  assertEquals(slopes.length, 2);
  assertAlmostEquals(slopes[0], -Math.exp(-0.5), 1e-6);
  assertAlmostEquals(slopes[1], -Math.exp(-3), 1e-6);
  tf.dispose([loss, logProbs, ...gradients.values()]);
});
