/**
 * Drawing tokens from logits in one dispatch: a workgroup takes a row.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import type { DrawnRows, RowSampling, SampledLogits } from "../kernels.ts";
import { currentLaunch, launchAll } from "./runtime/launch.ts";
import {
  type Binding,
  cachedProgram,
  grid,
  MAX_ITERATIONS,
  type Program,
} from "./runtime/program.ts";
import { reductions } from "./runtime/row_reduction.ts";

// S sequences, V vocabulary

/** Lanes of a row. */
const LANES = 256;

/** Rounds of the search for a threshold: 32 bits, three a round. */
const ROUNDS = 11;

/** Passes of a lane over its columns, at most. */
const PASSES = 2 * ROUNDS + 5;

/** How the programs differ. */
interface Variant {
  readonly greedy: boolean;
  readonly seen: boolean;
  readonly topK: boolean;
  readonly topP: boolean;
  readonly minP: boolean;
}

/**
 * Maps floats to integers of the same order, and sums two times four numbers over a workgroup.
 * Zeros of both signs are equal.
 */
const SEARCHING = `
fn key(v: f32) -> u32 {
  let bits = select(bitcast<u32>(v), 0u, v == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
var<workgroup> sums: array<array<vec4<f32>, 2>, ${LANES}>;
fn add_up(a: vec4<f32>, b: vec4<f32>, lane: u32) {
  workgroupBarrier();
  sums[lane][0] = a;
  sums[lane][1] = b;
  workgroupBarrier();
  for (var s = ${LANES / 2}u; s > 0u; s >>= 1u) {
    if (lane < s) {
      sums[lane][0] += sums[lane + s][0];
      sums[lane][1] += sums[lane + s][1];
    }
    workgroupBarrier();
  }
}`;

/**
 * WGSL that raises `low` to the largest key such that the tokens at or above it have mass `wanted`.
 * Eight keys a round: sums over fewer tokens are never larger, so the number of keys that suffice
 * tells where to search next.
 */
function search(mass: string, wanted: string): string {
  return `{
        var at = 0u;
        for (var round = 0; round < ${ROUNDS}; round++) {
          let shift = u32(max(29 - 3 * round, 0));
          let a = vec4<u32>(at) + (vec4<u32>(0u, 1u, 2u, 3u) << vec4<u32>(shift));
          let b = a + vec4<u32>(4u << shift);
          var sum_a = vec4<f32>();
          var sum_b = vec4<f32>();
          for (var c = base + lane; c < end; c += ${LANES}u) {
            let k = key(scaled[c]);
            let m = vec4<f32>(${mass});
            sum_a += select(vec4<f32>(), m, vec4<u32>(k) >= a);
            sum_b += select(vec4<f32>(), m, vec4<u32>(k) >= b);
          }
          add_up(sum_a, sum_b, lane);
          let enough_a = select(vec4<u32>(), vec4<u32>(0u, 1u, 1u, 1u), sums[0][0] >= vec4<f32>(${wanted}));
          let enough_b = select(vec4<u32>(), vec4<u32>(1u), sums[0][1] >= vec4<f32>(${wanted}));
          let both = enough_a + enough_b;
          at += (both.x + both.y + both.z + both.w) << shift;
        }
        low = max(low, at);
      }`;
}

/** WGSL that draws: each lane sums a range of the vocabulary, the first lane finds the token. */
const DRAW = `
      storageBarrier();
      let stretch = (p.V + ${LANES - 1}u) / ${LANES}u;
      let begin = base + lane * stretch;
      var mass = 0.0;
      for (var c = begin; c < min(begin + stretch, end); c++) {
        if (key(scaled[c]) >= low) { mass += weights[c]; }
      }
      workgroupBarrier();
      partial[lane] = mass;
      workgroupBarrier();
      if (lane == 0u) {
        var all = 0.0;
        for (var l = 0u; l < ${LANES}u; l++) { all += partial[l]; }
        let goal = all * load_uniforms(row);
        var before = 0.0;
        var inside = 0u;
        var start = 0.0;
        for (var l = 0u; l < ${LANES}u; l++) {
          if (partial[l] > 0.0) {
            inside = l;
            start = before;
            if (before + partial[l] > goal) { break; }
          }
          before += partial[l];
        }
        let first = base + inside * stretch;
        for (var c = first; c < min(first + stretch, end); c++) {
          if (key(scaled[c]) >= low && weights[c] > 0.0) {
            token = c - base;
            start += weights[c];
            if (start > goal) { break; }
          }
        }
        record[2u * p.S + row] = scaled[base + token] - most - log(all);
      }`;

function samplingProgram(variant: Variant): Program {
  const { greedy, seen, topK, topP, minP } = variant;
  const chosen = Object.entries(variant).flatMap(([name, on]) => on ? [name] : []);
  const drawn: Binding[] = greedy ? [] : [
    { name: "uniforms", type: "f32" },
    { name: "scaled", type: "f32", write: true },
    { name: "weights", type: "f32", write: true },
  ];
  return cachedProgram(["sample", ...chosen].join(" "), () => ({
    bindings: [
      { name: "logits", type: "f32" },
      { name: "forbidden", type: "f32" },
      ...drawn,
      ...seen ? [{ name: "seen", type: "f32", write: true }] as const : [],
      { name: "tokens", type: "i32", write: true },
      { name: "record", type: "f32", write: true },
    ],
    parameters: {
      ...{ S: "u32", V: "u32", divisor: "f32", penalty: "f32" },
      ...{ topK: "f32", topP: "f32", logMinP: "f32" },
    },
    workgroup: LANES,
    declarations: reductions(LANES) + (greedy ? "" : SEARCHING),
    body: `
      let row = group.y * groups.x + group.x;
      if (row >= p.S) { return; }
      let base = row * p.V;
      let end = base + p.V;
      var token = 0u;
      var own_plain = -3e38;
      var own_most = -3e38;
      var own_nan = 0.0;
      for (var c = base + lane; c < end; c += ${LANES}u) {
        let x = load_logits(c);
        // By its bits: not every driver keeps NaN through arithmetic (SwiftShader does not).
        if ((bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u) { own_nan = 1.0; }
        own_plain = max(own_plain, x / p.divisor);
        var score = x;
        ${
      seen ? "if (seen[c] > 0.0) { score = select(x / p.penalty, x * p.penalty, x < 0.0); }" : ""
    }
        score = max((score + load_forbidden(c - base)) / p.divisor, -2e38);
        if (score > own_most) {
          own_most = score;
          token = c - base;
        }
        ${greedy ? "" : "scaled[c] = score;"}
      }
      let most_plain = largest(own_plain, lane);
      let most = largest(own_most, lane);
      let has_nan = largest(own_nan, lane) > 0.0;
      var own_sum = 0.0;
      for (var c = base + lane; c < end; c += ${LANES}u) {
        own_sum += exp(load_logits(c) / p.divisor - most_plain);
        ${greedy ? "" : "weights[c] = exp(scaled[c] - most);"}
      }
      let sum_plain = total(own_sum, lane);
      ${
      greedy
        ? `
      // The first of the largest; ids are far below 2^24.
      token = u32(-largest(select(-16777216.0, -f32(token), own_most == most), lane));
      if (lane == 0u) { record[2u * p.S + row] = 0.0; }`
        : "var low = 0u;"
    }
      ${topK ? search("1.0", "p.topK") : ""}
      ${
      topP
        ? `
      var own_kept = 0.0;
      for (var c = base + lane; c < end; c += ${LANES}u) {
        own_kept += select(0.0, weights[c], key(scaled[c]) >= low);
      }
      let wanted = total(own_kept, lane) * p.topP;
      ${search("select(0.0, weights[c], k >= low)", "wanted")}`
        : ""
    }
      ${minP ? "low = max(low, key(most + p.logMinP));" : ""}
      ${greedy ? "" : DRAW}
      if (lane == 0u) {
        tokens[row] = i32(token);
        record[row] = f32(token);
        let log_prob = load_logits(base + token) / p.divisor - most_plain - log(sum_plain);
        // -Infinity, which no chosen token has.
        record[p.S + row] = select(log_prob, bitcast<f32>(0xff800000u + (p.S >> 31u)), has_nan);
        ${seen ? "seen[base + token] = 1.0;" : ""}
      }`,
  }));
}

/**
 * Draws a token from each row; changes `seen` in place.
 *
 * @returns null if `seen` shares its values with another tensor or the vocabulary is too large
 */
export function sampleRows(
  { logits, forbidden, seen, uniforms }: SampledLogits,
  { greedy, temperature, topK, topP, minP, repetitionPenalty }: RowSampling,
): DrawnRows | null {
  const [S, V] = logits.shape;
  const isOwn = seen === null || currentLaunch().backend.refCount(seen.dataId) === 1;
  if (!isOwn || Math.ceil(V / LANES) * PASSES > MAX_ITERATIONS) return null;
  const variant = {
    greedy,
    seen: seen !== null,
    topK: !greedy && topK > 0 && topK < V,
    topP: !greedy && topP > 0 && topP < 1,
    minP: !greedy && minP > 0,
  };
  const [tokens, record] = launchAll({
    name: "GpuSampleRows",
    inputs: { logits, forbidden, ...seen === null ? {} : { seen } },
    run: (l) => {
      const outputs = [l.output([S], "int32"), l.output([3, S])];
      const scratch = greedy ? [] : [l.output([S, V]), l.output([S, V])];
      const drawn = greedy ? [] : [
        l.integers(new Int32Array(Float32Array.from(uniforms).buffer)), // their bits
        ...scratch.map((tensor) => l.buffer(tensor)),
      ];
      const others = [...seen === null ? [] : [seen], ...outputs];
      const rounds = ROUNDS * (Number(variant.topK) + Number(variant.topP));
      l.dispatch(
        samplingProgram(variant),
        [l.buffer(logits), l.buffer(forbidden), ...drawn, ...others.map((x) => l.buffer(x))],
        {
          ...{ S, V, divisor: greedy ? 1 : temperature, penalty: repetitionPenalty },
          ...{ topK, topP, logMinP: minP > 0 ? Math.log(minP) : 0 },
        },
        grid(S, 1),
        {
          flops: S * V * (8 + 9 * rounds),
          bytes: 4 * (S * V * (1 + scratch.length + Number(variant.seen)) + V + 5 * S),
        },
      );
      if (seen !== null) l.forgetHostCopy(seen);
      for (const { dataId } of scratch) l.backend.disposeData(dataId);
      return outputs;
    },
  });
  return { tokens: tokens as tf.Tensor1D, record: record as tf.Tensor2D, seen };
}
