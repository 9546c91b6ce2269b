import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { k3Divergence } from "../../src/losses/kl.ts";
import { softmax } from "../../src/generate/sampling_filters.ts";
import { assertGradient } from "./finite_difference.ts";

Deno.test("k3Divergence() is never negative and 0 only at the reference", () => {
  assertEquals(k3Divergence(-1.25, -1.25).map(Math.abs), [0, 0]);
  for (const d of [-3, -1e-6, 1e-6, 2]) assert(k3Divergence(-4, -4 + d)[0] > 0);
});

Deno.test("k3Divergence() averages to the KL divergence under the policy", () => {
  const policy = softmax([1, -0.5, 0.3, 0]), reference = softmax([0.2, 0.1, -1, 0.8]);
  let exact = 0, estimate = 0;
  policy.forEach((p, v) => {
    exact += p * Math.log(p / reference[v]);
    estimate += p * k3Divergence(Math.log(p), Math.log(reference[v]))[0];
  });
  assertAlmostEquals(estimate, exact, 1e-12);
});

Deno.test("k3Divergence() has the slope of finite differences", () => {
  for (const logProb of [-5, -1, -0.1]) {
    assertGradient(
      "k3",
      ([at]) => k3Divergence(at, -1)[0],
      Float64Array.of(logProb),
      [k3Divergence(logProb, -1)[1]],
    );
  }
});
