import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import {
  drawToken,
  type SamplingParameters,
  samplingProbabilities,
  softmax,
  tokenLogProb,
} from "../../src/generate/sampling_filters.ts";
import { RandomStream } from "../../src/random.ts";

const V = 24;
const logits = (() => {
  const random = new RandomStream(3, "logits");
  return Float64Array.from({ length: V }, () => 1.5 * random.nextNormal());
})();

/** The upper 1-in-10,000 quantile of chi-squared (Wilson and Hilferty's cube). */
function chiSquaredBound(degrees: number): number {
  return degrees * (1 - 2 / (9 * degrees) + 3.719 * Math.sqrt(2 / (9 * degrees))) ** 3;
}

Deno.test("drawToken() draws each token as often as the filtered softmax says, over 20,000 draws", () => {
  const settings: SamplingParameters[] = [
    {},
    { temperature: 0.7 },
    { temperature: 1.3, topK: 9 },
    { topP: 0.9 },
    { temperature: 0.9, topK: 15, topP: 0.8 },
    { minP: 0.1 },
  ];
  settings.forEach((parameters, seed) => {
    const random = new RandomStream(seed, "draws");
    const forbidden = [2, 5];
    const probabilities = samplingProbabilities(logits, parameters, { forbidden });
    const counts = new Float64Array(V), draws = 20_000;
    for (let i = 0; i < draws; i++) {
      counts[drawToken(probabilities, random.nextFloat())]++;
    }
    let statistic = 0, degrees = -1;
    for (let v = 0; v < V; v++) {
      const expected = draws * probabilities[v];
      if (expected === 0) {
        assertEquals(counts[v], 0, `token ${v} was filtered out`);
        continue;
      }
      statistic += (counts[v] - expected) ** 2 / expected;
      degrees++;
    }
    assert(
      statistic < chiSquaredBound(degrees),
      `${JSON.stringify(parameters)}: chi-squared ${statistic} with ${degrees} degrees`,
    );
  });
});

Deno.test("samplingProbabilities() with 0 and 1 for off equals the plain softmax", () => {
  const plain = softmax(logits);
  for (const topP of [0, 1]) {
    const filtered = samplingProbabilities(logits, { topK: 0, topP, minP: 0 });
    plain.forEach((p, v) => assertAlmostEquals(filtered[v], p, 1e-15));
  }
});

Deno.test("top-p keeps the token that crosses it, and nanoVLM's order does not", () => {
  const row = [0.5, 0.3, 0.15, 0.05].map(Math.log);
  assertEquals([...samplingProbabilities(row, { topP: 0.7 })].map((p) => p > 0), [
    true,
    true,
    false,
    false,
  ]);
  assertEquals(
    [...samplingProbabilities(row, { topP: 0.7, order: "nanovlm" })].map((p) => p > 0),
    [true, false, false, false],
  );
});

Deno.test("top-k keeps tokens that tie with the k-th, and more than V keeps all", () => {
  const kept = (topK: number) =>
    samplingProbabilities([1, 3, 2, 2], { topK }).filter((p) => p > 0).length;
  assertEquals([1, 2, 3, 4, 9].map(kept), [1, 3, 3, 4, 4]);
});

Deno.test("min-p keeps tokens by their share of the likeliest", () => {
  const row = [0.5, 0.3, 0.15, 0.05].map(Math.log);
  assertEquals(samplingProbabilities(row, { minP: 0.31 }).filter((p) => p > 0).length, 2);
});

Deno.test("the repetition penalty makes tokens of the text less likely, whatever their sign", () => {
  const row = [2, -1, 2, -1];
  const p = samplingProbabilities(row, { repetitionPenalty: 2 }, { previousTokens: [0, 1, 0, 99] });
  const expected = softmax([1, -2, 2, -1]);
  expected.forEach((value, v) => assertAlmostEquals(p[v], value, 1e-12));
});

Deno.test("tokenLogProb() is that of the softmax at its temperature, and 0 counts as 1", () => {
  const plain = softmax(logits.map((logit) => logit / 0.5));
  assertAlmostEquals(tokenLogProb(logits, 3, 0.5), Math.log(plain[3]), 1e-12);
  assertAlmostEquals(tokenLogProb(logits, 3, 0), Math.log(softmax(logits)[3]), 1e-12);
});

Deno.test("samplingProbabilities() refuses what it cannot draw from", () => {
  assertThrows(() => samplingProbabilities([1, 2], { topP: 2 }), RangeError, "top_p");
  assertThrows(() => samplingProbabilities([1, 2], { temperature: -1 }), RangeError, "temperature");
  assertThrows(() => samplingProbabilities([1, 2], { topK: 1.5 }), RangeError, "top_k");
  assertThrows(() => samplingProbabilities([NaN, NaN], {}), RangeError, "none is finite");
  assertThrows(() => samplingProbabilities([1, 2], {}, { forbidden: [0, 1] }), RangeError);
});

Deno.test("temperature sharpens before top-p in Transformers' order, and after it in nanoVLM's", () => {
  const row = [0.5, 0.3, 0.2].map(Math.log);
  const powers = [0.25, 0.09, 0.04], sum = 0.38;
  samplingProbabilities(row, { temperature: 0.5 }).forEach((p, v) =>
    assertAlmostEquals(p, powers[v] / sum, 1e-12)
  );
  // 0.25/0.38 = 0.66 reaches 0.6 alone; at temperature 1 it takes two tokens.
  const sharpened = samplingProbabilities(row, { temperature: 0.5, topP: 0.6 });
  assertEquals([...sharpened].map((p) => p > 0), [true, false, false]);
  const raw = samplingProbabilities(row, { temperature: 0.5, topP: 0.81, order: "nanovlm" });
  assertEquals([...raw].map((p) => p > 0), [true, true, false]);
});
