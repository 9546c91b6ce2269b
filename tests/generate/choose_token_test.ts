import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { chooseToken } from "../../src/generate/choose_token.ts";
import {
  drawToken,
  type SamplingParameters,
  samplingProbabilities,
  tokenLogProb,
} from "../../src/generate/sampling_filters.ts";
import { tokenUniform } from "../../src/generate/token_uniform.ts";
import { RandomStream } from "../../src/random.ts";

const random = new RandomStream(1, "logits");
const logits = Float32Array.from({ length: 101 }, () => 2 * random.nextNormal());
const forbidden = [0, 7, 100, 400];

const SETTINGS: SamplingParameters[] = [
  {},
  { temperature: 0.6 },
  { topK: 10 },
  { topP: 0.7, minP: 0.05 },
];

Deno.test("chooseToken() draws what the filters say, filtered or not, with both log-probabilities", () => {
  for (const parameters of SETTINGS) {
    const probabilities = samplingProbabilities(logits, parameters, { forbidden });
    for (let i = 0; i < 300; i++) {
      const uniform = tokenUniform(3, 1, i);
      const chosen = chooseToken(logits, parameters, uniform, { forbidden });
      assertEquals(chosen.token, drawToken(probabilities, uniform));
      const logProb = tokenLogProb(logits, chosen.token, parameters.temperature);
      assertAlmostEquals(chosen.logProb, logProb, 1e-12);
      assertAlmostEquals(chosen.filteredLogProb, Math.log(probabilities[chosen.token]), 1e-12);
    }
  }
});

Deno.test("chooseToken() is greedy with greedy or temperature 0, and never forbidden", () => {
  const best = logits.indexOf(Math.max(...logits));
  assertEquals(chooseToken(logits, { greedy: true }, 0.9).token, best);
  assertEquals(chooseToken(logits, { temperature: 0 }, 0.9).token, best);
  const second = chooseToken(logits, { greedy: true }, 0.9, { forbidden: [best] });
  assertEquals(logits[second.token], Math.max(...logits.filter((_, v) => v !== best)));
  assertEquals(second.filteredLogProb, 0);
});

Deno.test("chooseToken() refuses logits that are not numbers, and a vocabulary all forbidden", () => {
  const bad = new Float32Array(5).fill(NaN);
  const all = { forbidden: logits.keys() };
  for (const parameters of [{}, { topK: 3 }, { greedy: true }]) {
    assertThrows(() => chooseToken(bad, parameters, 0.5), RangeError, "none is finite");
    const everything = { forbidden: [...logits.keys()] };
    assertThrows(() => chooseToken(logits, parameters, 0.5, everything), RangeError, "forbidden");
  }
  assertThrows(() => chooseToken(logits, { temperature: -1 }, 0.5, all), RangeError, "temperature");
});

Deno.test("tokenUniform() depends on seed, sequence and place, and on nothing else", () => {
  const numbers = new Set<number>();
  for (const seed of [0, 1]) {
    for (const sequence of [0, 1, 2 ** 32, 2 ** 32 + 1]) {
      for (const index of [0, 1, 500]) numbers.add(tokenUniform(seed, sequence, index));
    }
  }
  assertEquals(numbers.size, 24);
  assertEquals(tokenUniform(1, 2, 3), tokenUniform(1, 2, 3));
  for (const number of numbers) assertEquals(number >= 0 && number < 1, true);
});
