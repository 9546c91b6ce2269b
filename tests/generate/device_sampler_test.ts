import { assertAlmostEquals, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { chooseToken } from "../../src/generate/choose_token.ts";
import { DeviceSampler } from "../../src/generate/device_sampler.ts";
import {
  type SamplingParameters,
  samplingProbabilities,
} from "../../src/generate/sampling_filters.ts";
import { tokenUniform } from "../../src/generate/token_uniform.ts";
import { filteredWeights } from "../../src/ops/sampling.ts";
import { RandomStream } from "../../src/random.ts";
import { onEachBackend } from "./gpu_test_case.ts";

const S = 24, V = 67;
const FORBIDDEN = [0, 3, 66];
const settings: readonly (SamplingParameters & { greedy?: boolean })[] = [
  {},
  { temperature: 0.3 },
  { greedy: true },
  { topK: 5 },
  { topK: 1 },
  { topP: 0.8, temperature: 1.7 },
  { topK: 20, topP: 0.5 },
  { minP: 0.2 },
  { temperature: 0.8, topK: 30, topP: 0.9, minP: 0.05, repetitionPenalty: 1.8 },
];
const random = new RandomStream(4, "logits");
const logits = Float32Array.from({ length: S * V }, () => 3 * random.nextNormal());
const texts = Array.from({ length: S }, () => Array.from({ length: 9 }, () => random.nextInt(V)));

onEachBackend(
  "DeviceSampler chooses what the host chooses, with the same log-probabilities",
  async () => {
    for (const [seed, parameters] of settings.entries()) {
      const sampler = new DeviceSampler(V, parameters, FORBIDDEN);
      sampler.start(texts);
      const rows = tf.tensor2d(logits, [S, V]);
      const uniforms = texts.map((_, s) => tokenUniform(seed, s, 0));
      sampler.choose(rows, uniforms);
      const [chosen] = await sampler.read();
      for (let s = 0; s < S; s++) {
        const expected = chooseToken(logits.subarray(s * V, (s + 1) * V), parameters, uniforms[s], {
          forbidden: FORBIDDEN,
          previousTokens: texts[s],
        });
        const what = `${JSON.stringify(parameters)}, sequence ${s}`;
        assertEquals(chosen.tokens[s], expected.token, what);
        assertAlmostEquals(chosen.logProbs[s], expected.logProb, 2e-5, what);
        assertAlmostEquals(chosen.filteredLogProbs[s], expected.filteredLogProb, 2e-5, what);
      }
      sampler.dispose();
      rows.dispose();
    }
  },
);

onEachBackend("the repetition penalty also counts what was chosen a step before", async () => {
  const sampler = new DeviceSampler(V, { greedy: true, repetitionPenalty: 1e6 }, []);
  const rows = tf.tensor2d(logits.map(Math.abs), [S, V]);
  sampler.start(texts.map(() => []));
  for (let step = 0; step < 4; step++) sampler.choose(rows, new Array<number>(S).fill(0));
  const chosen = await sampler.read();
  for (let s = 0; s < S; s++) assertEquals(new Set(chosen.map(({ tokens }) => tokens[s])).size, 4);
  sampler.dispose();
  rows.dispose();
});

onEachBackend("filters keep the same tokens in a vocabulary as large as SmolLM2's", async () => {
  const V = 49_218;
  const wide = new RandomStream(9, "wide");
  const row = Float32Array.from({ length: V }, () => 2.5 * wide.nextNormal());
  const off = { topK: 0, topP: 1, minP: 0 };
  for (
    const parameters of [
      { ...off, topK: 50 },
      { ...off, topP: 0.95 },
      { topK: 2000, topP: 0.7, minP: 0.01 },
    ]
  ) {
    const weights = tf.tidy(() => filteredWeights(tf.tensor2d(row, [1, V]), parameters));
    const values = await weights.data();
    weights.dispose();
    const expected = samplingProbabilities(row, parameters);
    let differing = 0;
    for (let v = 0; v < V; v++) if ((values[v] > 0) !== (expected[v] > 0)) differing++;
    // float32 sums may put the token that crosses top-p on the other side.
    assertEquals(differing <= 2, true, `${JSON.stringify(parameters)}: ${differing} differ`);
  }
}, ["wasm", "webgpu"]);
