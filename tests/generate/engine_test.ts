import { assert, assertAlmostEquals, assertEquals, assertRejects } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import {
  generateFromRows,
  type GenerateOptions,
  generateTokens,
} from "../../src/generate/engine.ts";
import type { PromptRow } from "../../src/generate/prompt_rows.ts";
import { samplingProbabilities } from "../../src/generate/sampling_filters.ts";
import { readBack } from "../../src/device/read_back.ts";
import { batchRows, packBranches } from "../../src/model/branches.ts";
import type { VisionLanguageModel } from "../../src/generate/vision_language_model.ts";
import type { Precision } from "../../src/ops/half/precision.ts";
import { onEachBackend } from "./gpu_test_case.ts";
import { IMAGE, picture, prompt, tinyModel } from "./tiny_model.ts";

const PAD = 0;
const pictures = [picture(1), picture(2)];
const head = prompt(1, 3, true);
/** Prompts of several lengths, with and without pictures, some behind a shared beginning. */
const rows: readonly PromptRow[] = [
  {
    images: [pictures[0]],
    prompts: [[...head, 5, 6, 7], [...head, 8], [...head, 5, 9, 10, 11, 12]],
  },
  { images: [], prompts: [prompt(2, 5, false)] },
  { images: [pictures[1]], prompts: [prompt(3, 9, true)] },
  { images: [pictures[0]], prompts: [prompt(4, 2, true), prompt(5, 2, true)] },
];
const single: readonly PromptRow[] = rows.flatMap(({ images, prompts }) =>
  prompts.map((one) => ({ images, prompts: [one] }))
);
/** Enough ids that sequences end at different times. */
const STOPS = [3, 4, 13, 17, 23, 29, 31];

const sampling: GenerateOptions = {
  maxNewTokens: 40,
  stopTokenIds: STOPS,
  temperature: 0.9,
  topP: 0.95,
  seed: 11,
};

onEachBackend(
  "prompts behind a shared prefix get the answers that each gets alone",
  async (backend) => {
    const model = tinyModel();
    // A software adapter takes its time.
    const maxNewTokens = backend === "webgpu" ? 14 : 40;
    for (
      const options of [{ ...sampling, maxNewTokens, greedy: true }, { ...sampling, maxNewTokens }]
    ) {
      const together = await generateFromRows(model, rows, PAD, options);
      for (const [i, row] of single.entries()) {
        const [alone] = await generateFromRows(model, [row], PAD, { ...options, sequenceIds: [i] });
        assertEquals(together[i].tokens, alone.tokens);
        assertEquals(together[i].finishReason, alone.finishReason);
      }
      if ("greedy" in options) continue;
      const lengths = new Set(together.map(({ tokens }) => tokens.length));
      assert(lengths.size > 3, `sequences end at different times: ${[...lengths]}`);
    }
    model.dispose();
  },
);

onEachBackend(
  "a prompt's G completions equal G separate runs, whatever the batch",
  async (backend) => {
    const model = tinyModel();
    const G = 4, wanted = single.slice(2, 5);
    const ours = { ...sampling, maxNewTokens: backend === "webgpu" ? 12 : 40 };
    const sequenceIds = Array.from({ length: wanted.length * G }, (_, i) => 100 + i);
    const options = { ...ours, numReturnSequences: G, sequenceIds };
    const together = await generateFromRows(model, wanted, PAD, options);
    for (const [p, row] of wanted.entries()) {
      for (let g = 0; g < G; g++) {
        const [alone] = await generateFromRows(model, [row], PAD, {
          ...ours,
          sequenceIds: [sequenceIds[p * G + g]],
        });
        assertEquals(together[p * G + g].tokens, alone.tokens);
      }
    }
    const different = new Set(together.map(({ tokens }) => tokens.join()));
    assert(different.size >= 9, "each completion has numbers of its own");
    model.dispose();
  },
);

onEachBackend("left padding does not change what is generated", async () => {
  const model = tinyModel();
  const prompts = [prompt(2, 5, false), prompt(6, 9, false), prompt(7, 1, false)];
  const T = Math.max(...prompts.map((ids) => ids.length));
  const padded = {
    inputIds: prompts.map((ids) => [...new Array<number>(T - ids.length).fill(PAD), ...ids]),
    attentionMask: prompts.map((ids) =>
      Array.from({ length: T }, (_, i) => +(i >= T - ids.length))
    ),
  };
  const together = await generateTokens(model, padded, sampling);
  for (const [i, ids] of prompts.entries()) {
    const [alone] = await generateTokens(model, { inputIds: [ids] }, {
      ...sampling,
      sequenceIds: [i],
    });
    assertEquals(together[i].tokens, alone.tokens);
  }
  model.dispose();
});

/** Log-probabilities of a completion by one pass over prompt and completion. */
async function forwardLogProbs(
  model: VisionLanguageModel,
  row: PromptRow,
  tokens: readonly number[],
  temperature: number,
): Promise<Float32Array> {
  const inputIds = [...row.prompts[0], ...tokens];
  const labels = inputIds.map((_, i) =>
    i + 1 >= row.prompts[0].length ? inputIds[i + 1] ?? -100 : -100
  );
  const packed = packBranches([{ inputIds, labels }], row.images, IMAGE)!;
  const batch = batchRows([packed], PAD, model.config);
  const logProbs = tf.tidy(() => model.labelLogProbs(batch, {}, undefined, temperature)!);
  batch.dispose();
  const [values] = await readBack([logProbs]);
  logProbs.dispose();
  return values as Float32Array;
}

/**
 * How far a kept log-probability may be from a fresh forward's, in nats. In 16 bits a sum that is
 * taken in another order is now and then rounded to the other side.
 */
const LOG_PROB_TOLERANCE: Record<Precision, number> = { float32: 1e-4, fp16: 0.02, bf16: 0.1 };

for (const precision of ["float32", "fp16", "bf16"] as const) {
  onEachBackend(
    `the kept log-probabilities equal those of a fresh forward in ${precision}`,
    async () => {
      const model = tinyModel();
      model.precision = precision;
      for (
        const [options, temperature] of [[sampling, 0.9], [
          { ...sampling, greedy: true },
          1,
        ]] as const
      ) {
        const results = await generateFromRows(model, rows, PAD, { ...options, topK: 12 });
        for (const [i, { tokens, logProbs }] of results.entries()) {
          const fresh = await forwardLogProbs(model, single[i], tokens, temperature);
          assertEquals(logProbs.length, tokens.length);
          const tolerance = LOG_PROB_TOLERANCE[precision];
          logProbs.forEach((value, t) => assertAlmostEquals(value, fresh[t], tolerance));
        }
      }
      model.dispose();
    },
  );
}

onEachBackend(
  "first tokens come as often as the filtered softmax says, over 20,000 draws",
  async () => {
    const model = tinyModel();
    const row = single[0], draws = 20_000;
    const parameters = { temperature: 1.1, topK: 30, topP: 0.9, minP: 0.01 };
    const logits = tf.tidy(() => {
      const { logits } = model.forward({ inputIds: [[...row.prompts[0]]], images: row.images });
      return logits!.slice([0, row.prompts[0].length - 1, 0], [1, 1, -1]).clone();
    });
    const [values] = await readBack([logits]);
    logits.dispose();
    const probabilities = samplingProbabilities(values, parameters, { forbidden: [IMAGE] });
    const results = await generateFromRows(model, [row], PAD, {
      ...parameters,
      maxNewTokens: 1,
      stopTokenIds: [],
      numReturnSequences: draws,
      seed: 5,
    });
    const counts = new Map<number, number>();
    for (const { tokens: [token] } of results) counts.set(token, (counts.get(token) ?? 0) + 1);
    let statistic = 0, degrees = -1;
    probabilities.forEach((probability, token) => {
      const count = counts.get(token) ?? 0;
      if (probability === 0) return assertEquals(count, 0, `token ${token} was filtered out`);
      statistic += (count - draws * probability) ** 2 / (draws * probability);
      degrees++;
    });
    assert(degrees > 5);
    // The upper 1-in-10,000 quantile (Wilson and Hilferty's cube).
    const bound = degrees * (1 - 2 / (9 * degrees) + 3.719 * Math.sqrt(2 / (9 * degrees))) ** 3;
    assert(statistic < bound, `chi-squared ${statistic} with ${degrees} degrees`);
    model.dispose();
  },
);

onEachBackend("forbidden tokens never come, however hot", async () => {
  const model = tinyModel();
  const forbiddenTokenIds = [IMAGE, ...Array.from({ length: 40 }, (_, i) => i)];
  const results = await generateFromRows(model, single.slice(0, 2), PAD, {
    maxNewTokens: 12,
    stopTokenIds: [],
    temperature: 10,
    forbiddenTokenIds,
    numReturnSequences: 8,
  });
  for (const { tokens } of results) {
    assert(tokens.every((token) => token >= 40 && token < 63 && token !== IMAGE));
  }
  model.dispose();
});

onEachBackend("the repetition penalty counts prompt and completion", async () => {
  const model = tinyModel();
  const options = { maxNewTokens: 20, stopTokenIds: [], greedy: true };
  const [free] = await generateFromRows(model, [single[1]], PAD, options);
  const [penalised] = await generateFromRows(model, [single[1]], PAD, {
    ...options,
    repetitionPenalty: 1e6,
  });
  const seen = new Set(single[1].prompts[0]);
  for (const token of penalised.tokens) {
    assert(!seen.has(token), `token ${token} came again`);
    seen.add(token);
  }
  assert(new Set(free.tokens).size < free.tokens.length, "without it some token comes again");
  model.dispose();
});

onEachBackend("a caller ends one sequence, a signal ends all, and nothing leaks", async () => {
  const model = tinyModel();
  const before = tf.memory().numTensors;
  const seen = new Map<number, number[]>();
  const options = { maxNewTokens: 30, stopTokenIds: [], seed: 2 };
  const results = await generateFromRows(model, rows, PAD, {
    ...options,
    onToken(sequence, token) {
      const tokens = seen.get(sequence) ?? [];
      seen.set(sequence, [...tokens, token]);
      return sequence === 1 && tokens.length === 2;
    },
  });
  assertEquals(results[1].tokens.length, 3);
  assertEquals(results[1].finishReason, "stop");
  assertEquals(results[0].finishReason, "length");
  results.forEach(({ tokens }, sequence) => assertEquals(seen.get(sequence), tokens));
  const controller = new AbortController();
  const aborted = await generateFromRows(model, rows, PAD, {
    ...options,
    onToken: () => controller.abort(),
    signal: controller.signal,
  });
  assert(aborted.every(({ tokens }) => tokens.length >= 1 && tokens.length < 30));
  assertEquals(tf.memory().numTensors, before);
  model.dispose();
});

onEachBackend("wrong requests are refused before anything runs", async () => {
  const model = tinyModel();
  const before = tf.memory().numTensors;
  const ask = (options: Partial<GenerateOptions>, wanted = rows) =>
    generateFromRows(model, wanted, PAD, { maxNewTokens: 2, stopTokenIds: [], ...options });
  await assertRejects(() => ask({ numReturnSequences: 0 }), RangeError, "want 1 or more");
  await assertRejects(() => ask({ sequenceIds: [1] }), RangeError, "want one each");
  await assertRejects(() => ask({}, [{ images: [], prompts: [[99]] }]), TypeError, "token id 99");
  await assertRejects(() => ask({}, [{ images: [], prompts: [[]] }]), TypeError, "no token");
  await assertRejects(() => ask({ topP: 2 }), RangeError, "top_p 2");
  await assertRejects(
    () => ask({}, [{ images: [], prompts: [[1, IMAGE]] }]),
    Error,
    "image tokens",
  );
  assertEquals(tf.memory().numTensors, before);
  assertEquals((await ask({ maxNewTokens: 0 }))[0].tokens, []);
  model.dispose();
});

onEachBackend("a picture that several rows hold is encoded once", async () => {
  const model = tinyModel();
  let encoded = 0;
  const { encodeImages } = model;
  model.encodeImages = function (images, options) {
    encoded += images.shape[0];
    return encodeImages.call(this, images, options);
  };
  await generateFromRows(model, single, PAD, { maxNewTokens: 1, stopTokenIds: [] });
  assertEquals(encoded, 2);
  model.dispose();
}, ["wasm"]);
