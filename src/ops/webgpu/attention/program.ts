/**
 * The WGSL of attention without a [Tq, Tk] matrix: a lane has one query (or, for the gradients of
 * keys and values, one key) in registers and walks over what it sees, with a running softmax
 * (Milakov and Gimelshein, 2018; Dao et al., 2022). Queries and keys are turned by rotary angles as
 * they are read, their gradients turned back as they are stored.
 * @module
 */
import {
  angles,
  type AttentionVariant,
  each,
  ifOwn,
  integers,
  keyWindow,
  loadHead,
  named,
  operands,
  overKeys,
  overTiles,
  PARAMETERS,
  queryOf,
  queryRecord,
  rounding,
  rowBounds,
  seenKeys,
  stored,
  storeHead,
  sum,
  tiles,
} from "./wgsl.ts";
import type { OperandType } from "../product/product_operands.ts";
import { cachedProgram, type Program } from "../runtime/program.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, G = H / K,
// D head dim

const BUFFER: OperandType = { type: "vec4<f32>", rounded: false };

/** q, k, v → out [B, Tq, H, D] and the log of the sum of exponentials, [N, H]. */
export function forwardProgram(variant: AttentionVariant): Program {
  const { D4, lanes, tile } = variant;
  const turns = variant.turns !== "nothing";
  return cachedProgram(named("forward", variant), () => ({
    bindings: [
      ...operands(variant, "q", "k", "v"),
      ...integers(variant),
      ...angles(turns),
      { name: "out", type: "vec4<f32>", write: true },
      { name: "lse", type: "f32", write: true },
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    declarations: tiles(tile, { tile_k: D4, tile_v: D4 }),
    body: `${queryOf(variant)}${seenKeys(variant)}
      ${loadHead(D4, "unscaled", "load_q(at + #u)", turns ? "angle" : null)}
      ${each(D4, "let q# = unscaled# * p.scale;")}
      ${each(D4, "var o# = vec4<f32>();")}
      var most = -1e30;
      var total = 0.0;
      ${
      overKeys(
        variant,
        `let score = ${sum(D4, "dot(q#, k#)")};
        let before = most;
        most = max(most, score);
        let shrink = exp(before - most);
        let weight = exp(score - most);
        total = total * shrink + weight;
        ${each(D4, "o# = o# * shrink + weight * v#;")}`,
      )
    }
      // A query that sees nothing gets zeros.
      let inverse = 1.0 / max(total, 1e-30);
      ${
      ifOwn(
        variant,
        "is_query",
        `${each(D4, `out[at + #u] = ${stored(variant, "o# * inverse")};`)}
      lse[head] = most + log(max(total, 1e-30));`,
      )
    }`,
  }));
}

/**
 * For each query and head what the two programs below need of it: q turned and scaled
 * (`queryRecord()` says where that is left out), and behind it four floats, the log-sum, Σ dy·out,
 * and its own branch's range of keys.
 */
export function recordProgram(variant: AttentionVariant): Program {
  const { D4, lanes } = variant;
  const turns = variant.turns !== "nothing";
  const alone = { ...variant, tile: 0 };
  const { width, isScaled } = queryRecord(variant);
  return cachedProgram(named("record", variant), () => ({
    bindings: [
      // In a buffer, which a texture is made of for those who read it often.
      ...(isScaled ? [{ name: "q", ...variant.tile === 0 ? BUFFER : variant.inputs }] : []),
      { name: "out", type: "vec4<f32>" },
      { name: "dy", type: "vec4<f32>", rounded: variant.half !== null },
      { name: "lse", type: "f32" },
      ...integers(variant),
      ...angles(turns),
      { name: "record", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    body: `${queryOf(alone)}${seenKeys(variant)}
      let delta = ${sum(D4, "dot(load_out(at + #u), load_dy(at + #u))")};
      let to = head * ${width}u;
      ${
      isScaled
        ? `${loadHead(D4, "q", "load_q(at + #u)", turns ? "angle" : null)}
      ${each(D4, "record[to + #u] = q# * p.scale;")}`
        : ""
    }
      record[to + ${width - 1}u] = vec4<f32>(load_lse(head), delta, f32(s1), f32(e1));`,
  }));
}

/** dq [B, Tq, H, D]. */
export function dqProgram(variant: AttentionVariant): Program {
  const { D4, lanes, tile } = variant;
  const turns = variant.turns !== "nothing";
  const { names, vectors, own, isScaled } = queryRecord(variant);
  return cachedProgram(named("dq", variant), () => ({
    bindings: [
      ...operands(variant, ...names, "k", "v", "dy"),
      ...integers(variant),
      ...angles(turns),
      { name: "dq", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    declarations: tiles(tile, { tile_k: D4, tile_v: D4 }),
    body: `${queryOf(variant)}${seenKeys(variant)}
      ${each(D4, `let q# = ${vectors}${isScaled ? "" : " * p.scale"};`)}
      let own = ${own};
      ${each(D4, "let dy# = load_dy(at + #u);")}
      ${each(D4, "var g# = vec4<f32>();")}
      ${
      overKeys(
        variant,
        `let weight = exp(${sum(D4, "dot(q#, k#)")} - own.x);
        let slope = weight * (${sum(D4, "dot(dy#, v#)")} - own.y);
        ${each(D4, "g# += slope * k#;")}`,
      )
    }
      ${each(D4, "g# *= p.scale;")}
      ${ifOwn(variant, "is_query", storeHead(variant, ["dq", "at"], "g", turns ? "angle" : null))}`,
  }));
}

/**
 * dk and dv [B, Tk, K, D]: a lane has one key and walks over the queries that may see it, of which
 * the layout's array tells first and last for each run of keys.
 */
export function dkvProgram(variant: AttentionVariant): Program {
  const { D4, lanes, tile } = variant;
  const hasLayout = variant.layout !== "none";
  const turns = variant.turns === "queries and keys";
  const { names, width, vectors, own, isScaled } = queryRecord(variant);
  const headOf = (row: string): string => `(q_row + ${row} / G) * p.H + kv_head * G + ${row} % G`;
  const ofQuery = `var weight = exp(min(${sum(D4, "dot(q#, k#)")} - own.x, 80.0));
          ${
    hasLayout
      ? `let end = i32(own.w);
          let seen = (key >= start && key < min(prefix_end, end)) || (key >= i32(own.z) && key < end);
          weight = select(0.0, weight, seen);`
      : ""
  }
          let slope = weight * (${sum(D4, "dot(dy#, v#)")} - own.y);
          ${each(D4, "dv# += weight * dy#;")}
          ${each(D4, "dk# += slope * q#;")}`;
  const walk = tile === 0
    ? `for (var i = first; i < last; i++) {
        for (var g = 0u; g < G; g++) {
          let head = (q_row + i) * p.H + kv_head * G + g;
          let at = head * ${D4}u;
          let own = ${own};
          ${each(D4, `let q# = ${vectors};`)}
          ${each(D4, "let dy# = load_dy(at + #u);")}
          ${ofQuery}
        }
      }`
    : `let first_row = first * G;
      let last_row = last * G;
      ${
      overTiles(
        variant,
        ["first_row", "last_row"],
        width,
        `let head = ${headOf("row")};
          tile_record[n] = load_record(head * ${width}u + d);
          if (d < ${D4}u) { tile_dy[slot * ${D4}u + d] = load_dy(head * ${D4}u + d); }`,
        `let own = tile_record[r * ${width}u + ${D4}u];
          ${each(D4, `let q# = tile_record[r * ${width}u + #u];`)}
          ${each(D4, `let dy# = tile_dy[r * ${D4}u + #u];`)}
          ${ofQuery}`,
      )
    }`;
  const number = `group.x * ${lanes}u + lane`;
  return cachedProgram(named("dkv", variant), () => ({
    bindings: [
      ...operands(variant, ...names, "k", "v", "dy"),
      ...integers(variant),
      ...angles(turns),
      { name: "dk", type: "vec4<f32>", write: true },
      { name: "dv", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    rounds: rounding(variant),
    workgroup: lanes,
    declarations: tiles(tile, { tile_record: width, tile_dy: D4 }),
    body: `
      let kv_head = group.y;
      let b = group.z;${rowBounds(variant)}
      ${
      tile === 0
        ? `let j = ${number};
      if (j >= k_count) { return; }`
        : `let is_key = ${number} < k_count;
      let j = min(${number}, k_count - 1u);`
    }
      let kv = ((k_row + j) * p.K + kv_head) * ${D4}u;
      let angle = (k_row + j) * ${D4 >> 1}u;
      ${loadHead(D4, "k", `load_k(kv + #u)${isScaled ? "" : " * p.scale"}`, turns ? "angle" : null)}
      ${each(D4, "let v# = load_v(kv + #u);")}
      ${each(D4, "var dk# = vec4<f32>();")}
      ${each(D4, "var dv# = vec4<f32>();")}
      ${
      hasLayout
        ? `let block = ${keyWindow(variant)};
      let first = u32(load_visible(block));
      let last = u32(load_visible(block + 1u));
      let start = load_visible(b);
      let prefix_end = load_visible(p.B + b);
      let key = i32(j);`
        : `let first = 0u;
      let last = q_count;`
    }
      let G = p.H / p.K;
      ${walk}
      ${isScaled ? "" : each(D4, "dk# *= p.scale;")}
      ${
      ifOwn(
        variant,
        "is_key",
        `${storeHead(variant, ["dk", "kv"], "dk", turns ? "angle" : null)}
      ${each(D4, `dv[kv + #u] = ${stored(variant, "dv#")};`)}`,
      )
    }`,
  }));
}
