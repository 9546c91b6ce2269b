/**
 * The WGSL of attention's forward pass, without a [Tq, Tk] matrix: a lane has one query in registers
 * and walks over the keys that it sees, with a running softmax (Milakov and Gimelshein, 2018; Dao et
 * al., 2022). Queries and keys are rotated by their angles as they are read.
 *
 * `NANOVLM_TRACE_KERNELS=wgsl` prints the expanded programs; `../runtime/template.ts` explains the
 * marks that begin with `#`.
 * @module
 */
import { cachedProgram, type Program } from "../runtime/program.ts";
import {
  angles,
  type AttentionVariant,
  expandFor,
  integers,
  named,
  operands,
  overKeys,
  PARAMETERS,
  queryOfLane,
  queryRecord,
  result,
  rounding,
  ROW_BOUNDS,
  SEEN_KEYS,
  stored,
  tiles,
  turned,
} from "./variant.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, D head dim

/**
 * q, k, v → out [B, Tq, H, D] and the log of the sum of exponentials, [N, H]; or, if `records`, these
 * and dy → the record of `recordProgram()`, for a backward pass that has kept neither.
 */
export function forwardProgram(variant: AttentionVariant, records = false): Program {
  const { D4, lanes, tile } = variant;
  const { width, isScaled } = queryRecord(variant);
  return cachedProgram(named(records ? "forward record" : "forward", variant), () => ({
    bindings: [
      ...operands(variant, "q", "k", "v"),
      ...records ? [{ name: "dy", ...variant.dyBuffer }] : [],
      ...integers(variant),
      ...angles(variant.rotates !== "nothing"),
      ...records
        ? [{ name: "record", type: "vec4<f32>", write: true } as const]
        : [result(variant, "out"), { name: "lse", type: "f32", write: true } as const],
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    declarations: tiles(tile, { tile_k: D4, tile_v: D4 }),
    body: expandFor(
      variant,
      `
      let h = group.y;
      let b = group.z;
      let kv_head = h / (p.H / p.K);
      ${ROW_BOUNDS}
      ${queryOfLane(variant)}
      let head = (q_row + i) * p.H + h;
      let at = head * ${D4}u;
      let angle = (q_row + i) * ${D4 >> 1}u;
      ${SEEN_KEYS}

      // The query, rotated and scaled.
#if rotates
      let raw# = load_q(at + #u);
#pairs
      let cos# = load_cos(angle + #u);
      let sin# = load_sin(angle + #u);
      let unscaled# = ${turned(variant, "raw# * cos# - raw## * sin#")};
      let unscaled## = ${turned(variant, "raw## * cos# + raw# * sin#")};
#end
#else
      let unscaled# = load_q(at + #u);
#end
      let q# = unscaled# * p.scale;

      // The softmax so far: the largest score, the sum of exponentials, the weighted sum of values.
      var o# = vec4<f32>();
      var most = -1e30;
      var total = 0.0;
      ${
        overKeys(
          variant,
          `let score = SUM[dot(q#, k#)];
        let before = most;
        most = max(most, score);
        let shrink = exp(before - most);
        let weight = exp(score - most);
        total = total * shrink + weight;
        o# = o# * shrink + weight * v#;`,
        )
      }

      // A query that sees nothing gets zeros.
      let inverse = 1.0 / max(total, 1e-30);
#if tile
      if (is_query) {
#end
#if records
      let delta = SUM[dot(o# * inverse, load_dy(at + #u))];
      let to = head * ${width}u;
#if scaled
      record[to + #u] = q#;
#end
      let log_sum = most + log(max(total, 1e-30));
      record[to + ${width - 1}u] = vec4<f32>(log_sum, delta, f32(s1), f32(e1));
#else
      store_out(at + #u, ${stored(variant, "o# * inverse")});
      lse[head] = most + log(max(total, 1e-30));
#end
#if tile
      }
#end`,
      { records, scaled: isScaled },
    ),
  }));
}
