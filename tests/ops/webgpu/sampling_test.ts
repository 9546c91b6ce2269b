/** Tokens drawn in one dispatch, against the composite and against the host in double precision. */
import { assert, assertEquals } from "@std/assert";
import * as tf from "@tensorflow/tfjs";
import { readBack } from "../../../src/device/read_back.ts";
import { samplingProbabilities, tokenLogProb } from "../../../src/generate/sampling_filters.ts";
import { FORBIDDEN, type RowSampling, sampleRowsComposite } from "../../../src/ops/sampling.ts";
import { currentLaunch } from "../../../src/ops/webgpu/runtime/launch.ts";
import { RandomStream } from "../../../src/random.ts";
import { assertClose } from "../assert_close.ts";
import { kernelTest } from "./webgpu_op.ts";

// S sequences, V vocabulary
const S = 5;
/** Fewer than lanes, a lane more, several a lane, and SmolLM2's vocabulary. */
const SIZES = [2, 63, 256, 257, 1027];
const SMOL_LM2 = 49_218;

const OFF: RowSampling = {
  ...{ greedy: false, temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 },
};
const SETTINGS: readonly Partial<RowSampling>[] = [
  {},
  { greedy: true },
  { temperature: 0.3 },
  { topK: 5 },
  { topK: 1 },
  { topP: 0.8, temperature: 1.7 },
  { topP: 1e-6 },
  { topP: 0.999999 },
  { minP: 0.2 },
  { minP: 1 },
  { topK: 20, topP: 0.5 },
  { temperature: 0.8, topK: 30, topP: 0.9, minP: 0.05, repetitionPenalty: 1.8 },
  { greedy: true, repetitionPenalty: 1.3 },
];

interface Rows {
  readonly logits: tf.Tensor2D;
  readonly forbidden: tf.Tensor1D;
  readonly seen: tf.Tensor2D | null;
  readonly uniforms: readonly number[];
}

/** Logits, with some ties if `grain` is above 0, every seventh token but the first never drawn, every third one seen. */
function makeRows(V: number, penalised: boolean, grain = 1 / 64): Rows {
  const random = new RandomStream(V, "rows");
  const values = Float32Array.from({ length: S * V }, () => {
    const value = 2.5 * random.nextNormal();
    return grain === 0 ? value : grain * Math.round(value / grain);
  });
  return {
    logits: tf.tensor2d(values, [S, V]),
    forbidden: tf.tensor1d(Array.from({ length: V }, (_, v) => v % 7 === 6 ? FORBIDDEN : 0)),
    seen: penalised
      ? tf.tensor2d(Array.from({ length: S * V }, (_, i) => Number(i % 3 === 0)), [S, V])
      : null,
    uniforms: [0, 0.9991, 0.5, 0.123, 0.987],
  };
}

const tensorsOf = ({ logits, forbidden, seen }: Rows): tf.Tensor[] =>
  seen === null ? [logits, forbidden] : [logits, forbidden, seen];

/** Where the token lies in the cumulative distribution that the host computes. */
function assertDrawn(
  row: Float32Array,
  rows: Rows,
  sampling: RowSampling,
  s: number,
  token: number,
): void {
  const V = row.length;
  const probabilities = samplingProbabilities(
    row,
    { ...sampling, temperature: sampling.greedy ? 0 : sampling.temperature },
    {
      forbidden: Array.from({ length: V }, (_, v) => v).filter((v) => v % 7 === 6),
      previousTokens: Array.from({ length: V }, (_, v) => v).filter((v) => (s * V + v) % 3 === 0),
    },
  );
  const before = probabilities.subarray(0, token).reduce((sum, p) => sum + p, 0);
  const what = `${JSON.stringify(sampling)}, V ${V}, sequence ${s}: token ${token}`;
  const uniform = rows.uniforms[s];
  assert(before <= uniform + 1e-4, `${what} comes too late`);
  assert(before + probabilities[token] >= uniform - 1e-4, `${what} comes too early`);
}

kernelTest("tokens are drawn as the composite draws them", async (k) => {
  for (const V of SIZES) {
    for (const setting of SETTINGS) {
      const sampling = { ...OFF, ...setting };
      const penalised = sampling.repetitionPenalty !== 1;
      const [rows, same] = [makeRows(V, penalised), makeRows(V, penalised)];
      const got = k.sampleRows(rows, sampling);
      assert(got !== null);
      const want = sampleRowsComposite(same, sampling);
      assert(got.seen === rows.seen);
      const seen = got.seen === null ? [] : [got.seen, want.seen!];
      const read = await readBack([got.tokens, got.record, want.tokens, want.record, ...seen]);
      const what = `${JSON.stringify(sampling)}, V ${V}`;
      assertEquals(Array.from(read[0]), Array.from(read[2]), what);
      assertClose(read[1], read[3], 2e-5, what);
      if (seen.length > 0) assertEquals(read[4], read[5], what);
      tf.dispose([got.tokens, got.record, want.tokens, want.record, ...tensorsOf(same)]);
      tf.dispose([...tensorsOf(rows), ...want.seen === null ? [] : [want.seen]]);
    }
  }
});

kernelTest("tokens of a vocabulary as large as SmolLM2's are drawn as on the host", async (k) => {
  for (
    const setting of [
      ...[{}, { greedy: true, repetitionPenalty: 1.1 }, { topK: 50, temperature: 0.7 }],
      ...[{ topP: 0.95 }, { topK: 2000, topP: 0.7, minP: 0.001, repetitionPenalty: 1.2 }],
    ]
  ) {
    const sampling = { ...OFF, ...setting };
    // On the host top-p keeps some of the tokens that tie.
    const rows = {
      ...makeRows(SMOL_LM2, sampling.repetitionPenalty !== 1, 0),
      uniforms: [0, 1 - 2 ** -32, 0.5, 0.123, 0.987],
    };
    const launch = currentLaunch();
    launch.startCounting();
    const got = k.sampleRows(rows, sampling);
    assertEquals(launch.stopCounting().length, 1, "dispatches");
    assert(got !== null);
    const [logits, record] = await readBack([rows.logits, got.record]) as Float32Array[];
    for (let s = 0; s < S; s++) {
      const row = logits.subarray(s * SMOL_LM2, (s + 1) * SMOL_LM2);
      const token = record[s];
      assertDrawn(row, rows, sampling, s, token);
      const logProb = tokenLogProb(row, token, sampling.temperature);
      assertClose([record[S + s]], [logProb], 2e-5, JSON.stringify(sampling));
    }
    tf.dispose([got.tokens, got.record, ...tensorsOf(rows)]);
  }
});

kernelTest("zeros of both signs tie, and so do all tokens like the last one kept", async (k) => {
  const logits = tf.tensor2d([[0, -0, -1, 0, -2, -0, -3]]);
  const forbidden = tf.zeros<tf.Rank.R1>([7]);
  for (const sampling of [{ ...OFF, topK: 1 }, { ...OFF, topP: 0.1 }, { ...OFF, minP: 1 }]) {
    const drawn: number[] = [];
    for (const uniform of [0, 0.3, 0.6, 0.9]) {
      const got = k.sampleRows({ logits, forbidden, seen: null, uniforms: [uniform] }, sampling);
      const [record] = await readBack([got!.record]);
      drawn.push(record[0]);
      assertClose([record[2]], [Math.log(1 / 4)], 1e-5, JSON.stringify(sampling));
      tf.dispose([got!.tokens, got!.record]);
    }
    assertEquals(drawn, [0, 1, 3, 5], JSON.stringify(sampling));
  }
  tf.dispose([logits, forbidden]);
});

kernelTest("logits that are not numbers give a token all the same, and say so", async (k) => {
  const logits = tf.tensor2d([[1, NaN, 2], [1, 2, 3]]);
  const forbidden = tf.zeros<tf.Rank.R1>([3]);
  for (const sampling of [OFF, { ...OFF, greedy: true }, { ...OFF, topK: 2, topP: 0.5 }]) {
    const rows = { logits, forbidden, seen: null, uniforms: [0.5, 0.01] };
    const got = k.sampleRows(rows, sampling);
    const [tokens, record] = await readBack([got!.tokens, got!.record]);
    assert(tokens.every((token) => token >= 0 && token < 3), `${tokens}`);
    assert(!Number.isFinite(record[2]), `${record}`);
    assert(Number.isFinite(record[3]), `${record}`);
    tf.dispose([got!.tokens, got!.record]);
  }
  tf.dispose([logits, forbidden]);
});

kernelTest("what others share and what is too long for a lane is left to the composite", (k) => {
  const rows = makeRows(9, true);
  const shared = rows.seen!.clone();
  assertEquals(k.sampleRows(rows, { ...OFF, repetitionPenalty: 2 }), null);
  const V = 2 ** 19;
  const logits = tf.zeros<tf.Rank.R2>([1, V]);
  const forbidden = tf.zeros<tf.Rank.R1>([V]);
  assertEquals(k.sampleRows({ logits, forbidden, seen: null, uniforms: [0] }, OFF), null);
  tf.dispose([...tensorsOf(rows), shared, logits, forbidden]);
  return Promise.resolve();
});
