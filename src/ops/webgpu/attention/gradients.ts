/**
 * The WGSL of attention's backward pass: a record of each query, then the gradients of the queries,
 * then those of the keys and values. Gradients of rotated vectors are rotated back as they are stored.
 * `forward.ts` says how to read the templates.
 * @module
 */
import type { OperandType } from "../product/product_operands.ts";
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
  queryWindow,
  result,
  rounding,
  ROW_BOUNDS,
  SEEN_KEYS,
  stored,
  storeHead,
  tiles,
  turned,
} from "./variant.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, G = H / K,
// D head dim

const BUFFER: OperandType = { type: "vec4<f32>", rounded: false };

/**
 * What the two programs below need of each query and head: the query, rotated and scaled
 * (`queryRecord()` says when it is left out), and then four floats: the log-sum, Σ dy·out, and the
 * range of keys of its own branch.
 */
export function recordProgram(variant: AttentionVariant): Program {
  const { D4, lanes } = variant;
  const rotates = variant.rotates !== "nothing";
  const { width, isScaled } = queryRecord(variant);
  return cachedProgram(named("record", variant), () => ({
    bindings: [
      // A buffer on any adapter: it is read once.
      ...(isScaled ? [{ name: "q", ...variant.tile === 0 ? BUFFER : variant.inputs }] : []),
      { name: "out", type: "vec4<f32>" },
      { name: "dy", ...variant.dyBuffer },
      { name: "lse", type: "f32" },
      ...integers(variant),
      ...angles(rotates),
      { name: "record", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    body: expandFor(
      { ...variant, tile: 0 },
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
      let delta = SUM[dot(load_out(at + #u), load_dy(at + #u))];
      let to = head * ${width}u;
#if scaled
#if rotates
      let raw# = load_q(at + #u);
#pairs
      let cos# = load_cos(angle + #u);
      let sin# = load_sin(angle + #u);
      let q# = raw# * cos# - raw## * sin#;
      let q## = raw## * cos# + raw# * sin#;
#end
#else
      let q# = load_q(at + #u);
#end
      record[to + #u] = q# * p.scale;
#end
      record[to + ${width - 1}u] = vec4<f32>(load_lse(head), delta, f32(s1), f32(e1));`,
      { scaled: isScaled },
    ),
  }));
}

/** dq [B, Tq, H, D]. */
export function dqProgram(variant: AttentionVariant): Program {
  const { D4, lanes, tile } = variant;
  const rotates = variant.rotates !== "nothing";
  const { names, width, isScaled } = queryRecord(variant);
  return cachedProgram(named("dq", variant), () => ({
    bindings: [
      ...operands(variant, ...names, "k", "v", "dy"),
      ...integers(variant),
      ...angles(rotates),
      result(variant, "dq"),
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
#if scaled
      let q# = load_record(head * ${width}u + #u);
      let own = load_record(head * ${width}u + ${D4}u);
#else
      let q# = load_q(head * ${D4}u + #u) * p.scale;
      let own = load_record(head);
#end
      let dy# = load_dy(at + #u);
      var g# = vec4<f32>();
      ${
        overKeys(
          variant,
          `let weight = exp(SUM[dot(q#, k#)] - own.x);
        let slope = weight * (SUM[dot(dy#, v#)] - own.y);
        g# += slope * k#;`,
        )
      }
      g# *= p.scale;
#if tile
      if (is_query) {
#end
      ${storeHead(variant, rotates, ["dq", "at"], "g")}
#if tile
      }
#end`,
      { scaled: isScaled },
    ),
  }));
}

/**
 * dk and dv [B, Tk, K, D]: a lane has one key and walks over the queries that may see it. The
 * layout's table has the first and the last of them for each run of keys.
 */
export function dkvProgram(variant: AttentionVariant): Program {
  const { D4, lanes, tile } = variant;
  const rotates = variant.rotates === "queries and keys";
  const { names, width, isScaled } = queryRecord(variant);
  // Queries of the record, or of workgroup memory, are scaled; otherwise the key is.
  const scalesKey = !isScaled && tile === 0;
  /** What a query, with its vectors in `q#` and `dy#` and its record in `own`, adds to the gradients. */
  const step = `
          var weight = exp(min(SUM[dot(q#, k#)] - own.x, 80.0));
#if layout
          let end = i32(own.w);
          let seen = (key >= start && key < min(prefix_end, end)) || (key >= i32(own.z) && key < end);
          weight = select(0.0, weight, seen);
#end
          let slope = weight * (SUM[dot(dy#, v#)] - own.y);
          dv# += weight * dy#;
          dk# += slope * q#;`;
  return cachedProgram(named("dkv", variant), () => ({
    bindings: [
      ...operands(variant, ...names, "k", "v", "dy"),
      ...integers(variant),
      ...angles(rotates),
      result(variant, "dk"),
      result(variant, "dv"),
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    declarations: tiles(tile, { tile_record: D4 + 1, tile_dy: D4 }),
    body: expandFor(
      variant,
      `
      let kv_head = group.y;
      let b = group.z;
      ${ROW_BOUNDS}
#if tile
      let is_key = group.x * ${lanes}u + lane < k_count;
      let j = min(group.x * ${lanes}u + lane, k_count - 1u);
#else
      let j = group.x * ${lanes}u + lane;
      if (j >= k_count) { return; }
#end
      let kv = ((k_row + j) * p.K + kv_head) * ${D4}u;
      let angle = (k_row + j) * ${D4 >> 1}u;
#if rotates_keys
      let raw# = load_k(kv + #u);
#pairs
      let cos# = load_cos(angle + #u);
      let sin# = load_sin(angle + #u);
      let k# = ${turned(variant, "raw# * cos# - raw## * sin#")};
      let k## = ${turned(variant, "raw## * cos# + raw# * sin#")};
#end
#else
      let k# = load_k(kv + #u)${scalesKey ? " * p.scale" : ""};
#end
      let v# = load_v(kv + #u);
      var dk# = vec4<f32>();
      var dv# = vec4<f32>();
#if layout
      let block = ${queryWindow(variant)};
      let first = u32(load_visible(block));
      let last = u32(load_visible(block + 1u));
      let start = load_visible(b);
      let prefix_end = load_visible(p.B + b);
      let key = i32(j);
#else
      let first = 0u;
      let last = q_count;
#end
      let G = p.H / p.K;
#if !tile
      for (var i = first; i < last; i++) {
        for (var g = 0u; g < G; g++) {
          let head = (q_row + i) * p.H + kv_head * G + g;
          let at = head * ${D4}u;
#if scaled
          let own = load_record(head * ${width}u + ${D4}u);
          let q# = load_record(head * ${width}u + #u);
#else
          let own = load_record(head);
          let q# = load_q(head * ${D4}u + #u);
#end
          let dy# = load_dy(at + #u);
          ${step}
        }
      }
#else
      let first_row = first * G;
      let last_row = last * G;
      for (var t = first_row; t < last_row; t += ${tile}u) {
        let held = min(${tile}u, last_row - t);
        workgroupBarrier();
        for (var n = lane; n < held * ${D4 + 1}u; n += ${lanes}u) {
          let slot = n / ${D4 + 1}u;
          let d = n % ${D4 + 1}u;
          let row = t + slot;
          let head = (q_row + row / G) * p.H + kv_head * G + row % G;
#if scaled
          tile_record[n] = load_record(head * ${width}u + d);
#else
          if (d < ${D4}u) { tile_record[n] = load_q(head * ${D4}u + d) * p.scale; }
          else { tile_record[n] = load_record(head); }
#end
          if (d < ${D4}u) { tile_dy[slot * ${D4}u + d] = load_dy(head * ${D4}u + d); }
        }
        workgroupBarrier();
        for (var r = 0u; r < held; r++) {
          let own = tile_record[r * ${D4 + 1}u + ${D4}u];
          let q# = tile_record[r * ${D4 + 1}u + #u];
          let dy# = tile_dy[r * ${D4}u + #u];
          ${step}
        }
      }
#end
#if scales_key
      dk# *= p.scale;
#end
#if tile
      if (is_key) {
#end
      ${storeHead(variant, rotates, ["dk", "kv"], "dk")}
      store_dv(kv + #u, ${stored(variant, "dv#")});
#if tile
      }
#end`,
      { scaled: isScaled, scales_key: scalesKey },
    ),
  }));
}
