import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { crossEntropy } from "../../src/losses/cross_entropy.ts";
import { RandomStream } from "../../src/random.ts";
import { assertGradient } from "./finite_difference.ts";

const R = 5, V = 7;
const random = new RandomStream(1, "cross entropy");
const logits = Float64Array.from({ length: R * V }, () => 3 * random.nextNormal());
const labels = [3, -100, 0, 6, -100];

Deno.test("crossEntropy() has the gradient of finite differences, 0 where labels are ignored", () => {
  const { gradLogits, labelTokens } = crossEntropy(logits, labels);
  assertEquals(labelTokens, 3);
  assertGradient("logits", (at) => crossEntropy(at, labels).loss, logits, gradLogits);
  assertEquals([...gradLogits.slice(V, 2 * V)], new Array(V).fill(0));
});

Deno.test("crossEntropy() of micro-batches with the whole batch's tokens adds up to one batch", () => {
  const whole = crossEntropy(logits, labels);
  const first = crossEntropy(logits.slice(0, V), labels.slice(0, 1), 3);
  const rest = crossEntropy(logits.slice(V), labels.slice(1), 3);
  assertAlmostEquals(first.loss + rest.loss, whole.loss, 1e-13);
});

Deno.test("crossEntropy() neither overflows nor loses a certain row", () => {
  const { loss, logProbs, entropies } = crossEntropy([1e4, -1e4, -Infinity, 0, 0, 0], [0, 1]);
  assertEquals(logProbs[0], 0);
  assertEquals(entropies[0], 0);
  assertAlmostEquals(entropies[1], Math.log(3), 1e-12);
  assertAlmostEquals(loss, Math.log(3) / 2, 1e-12);
});

Deno.test("crossEntropy() of no labels is 0, and a label outside the vocabulary is named", () => {
  assertEquals(crossEntropy([1, 2], [-100]).loss, 0);
  assertThrows(() => crossEntropy([1, 2], [2]), RangeError, "label 2 in row 0");
  assertThrows(() => crossEntropy([1, 2, 3], [0, 1]), RangeError, "do not split");
});
