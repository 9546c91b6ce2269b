/**
 * The WGSL of attention without a [Tq, Tk] matrix: a lane has one query (or, for the gradients of
 * keys and values, one key) in registers and walks over what it sees, with a running softmax
 * (Milakov and Gimelshein, 2018; Dao et al., 2022).
 * @module
 */
import { type Binding, type BindingType, cachedProgram, type Program } from "./program.ts";

// B batch, Tq queries, Tk keys, H query heads, K key/value heads, G = H / K, D head dim

/** What the programs differ by. */
export interface AttentionVariant {
  /** D / 4: unrolled. */
  readonly D4: number;
  readonly operand: BindingType;
  /** Lanes of a workgroup. */
  readonly lanes: number;
  /** Whether a layout says who sees whom; else every query sees every key. */
  readonly hasLayout: boolean;
}

const PARAMETERS = {
  B: "u32",
  Tq: "u32",
  Tk: "u32",
  H: "u32",
  K: "u32",
  scale: "f32",
} as const;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** One line for each group of four dims, `#` standing for its number. */
const each = (D4: number, line: string): string =>
  range(D4).map((d) => line.replaceAll("#", String(d))).join("\n      ");

/** The sum over all dims of a product, e.g. `dot(q#, k#)`. */
const sum = (D4: number, term: string): string =>
  range(D4).map((d) => term.replaceAll("#", String(d))).join(" + ");

const operands = ({ operand }: AttentionVariant, ...names: string[]): Binding[] =>
  names.map((name) => ({ name, type: operand }));

/** What there is of the layout. */
const integers = ({ hasLayout }: AttentionVariant, ...names: string[]): Binding[] =>
  hasLayout ? names.map((name) => ({ name, type: "i32" })) : [];

const named = (what: string, variant: AttentionVariant): string =>
  `attention ${what} D${variant.D4 * 4} ${variant.operand} ${variant.lanes}${
    variant.hasLayout ? " layout" : ""
  }`;

/**
 * Which keys query `i` of row `b` sees: [s0, e0) and [s1, e1). The layout's numbers lie in one
 * array: starts [B], prefix ends [B], branch starts [B·Tq], ends [B·Tq].
 */
const ranges = (hasLayout: boolean): string =>
  hasLayout
    ? `
      let start = load_visible(b);
      let prefix_end = load_visible(p.B + b);
      let end = load_visible(2u * p.B + p.B * p.Tq + b * p.Tq + i);
      let s0 = start;
      let e0 = min(prefix_end, end);
      let s1 = max(load_visible(2u * p.B + b * p.Tq + i), prefix_end);
      let e1 = end;`
    : `
      let s0 = 0;
      let e0 = 0;
      let s1 = 0;
      let e1 = i32(p.Tk);`;

/** A loop over the keys that a query sees; `j` is the key, `kv` where its vectors begin. */
const overKeys = (D4: number, body: string): string => `
      let n0 = max(e0 - s0, 0);
      let count = n0 + max(e1 - s1, 0);
      for (var t = 0; t < count; t++) {
        let j = select(s1 + t - n0, s0 + t, t < n0);
        let kv = ((b * p.Tk + u32(j)) * p.K + kv_head) * ${D4}u;
        ${body}
      }`;

const queryOf = (lanes: number, D4: number): string => `
      let i = group.x * ${lanes}u + lane;
      let h = group.y;
      let b = group.z;
      if (i >= p.Tq) { return; }
      let kv_head = h / (p.H / p.K);
      let head = (b * p.Tq + i) * p.H + h;
      let at = head * ${D4}u;`;

/** q, k, v → out [B, Tq, H, D] and the log of the sum of exponentials, [B, Tq, H]. */
export function forwardProgram(variant: AttentionVariant): Program {
  const { D4, lanes, hasLayout } = variant;
  return cachedProgram(named("forward", variant), () => ({
    bindings: [
      ...operands(variant, "q", "k", "v"),
      ...integers(variant, "visible"),
      { name: "out", type: "vec4<f32>", write: true },
      { name: "lse", type: "f32", write: true },
    ],
    parameters: PARAMETERS,
    workgroup: lanes,
    body: `${queryOf(lanes, D4)}${ranges(hasLayout)}
      ${each(D4, "let q# = load_q(at + #u) * p.scale;")}
      ${each(D4, "var o# = vec4<f32>();")}
      var most = -1e30;
      var total = 0.0;
      ${
      overKeys(
        D4,
        `let score = ${sum(D4, "dot(q#, load_k(kv + #u))")};
        let before = most;
        most = max(most, score);
        let shrink = exp(before - most);
        let weight = exp(score - most);
        total = total * shrink + weight;
        ${each(D4, "o# = o# * shrink + weight * load_v(kv + #u);")}`,
      )
    }
      // A query that sees nothing gets zeros.
      let inverse = 1.0 / max(total, 1e-30);
      ${each(D4, "out[at + #u] = o# * inverse;")}
      lse[head] = most + log(max(total, 1e-30));`,
  }));
}

/**
 * For each query and head what the two programs below need of it: the log-sum, Σ dy·out, and its
 * own branch's range of keys, as four floats [B, Tq, H, 4].
 */
export function statisticsProgram(variant: AttentionVariant): Program {
  const { D4, lanes, hasLayout } = variant;
  return cachedProgram(named("statistics", variant), () => ({
    bindings: [
      { name: "out", type: "vec4<f32>" },
      { name: "dy", type: "vec4<f32>" },
      { name: "lse", type: "f32" },
      ...integers(variant, "visible"),
      { name: "statistics", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    workgroup: lanes,
    body: `${queryOf(lanes, D4)}${ranges(hasLayout)}
      let delta = ${sum(D4, "dot(load_out(at + #u), load_dy(at + #u))")};
      statistics[head] = vec4<f32>(load_lse(head), delta, f32(s1), f32(e1));`,
  }));
}

/** dq [B, Tq, H, D]. */
export function dqProgram(variant: AttentionVariant): Program {
  const { D4, lanes, hasLayout } = variant;
  return cachedProgram(named("dq", variant), () => ({
    bindings: [
      ...operands(variant, "q", "k", "v", "dy", "statistics"),
      ...integers(variant, "visible"),
      { name: "dq", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    workgroup: lanes,
    body: `${queryOf(lanes, D4)}${ranges(hasLayout)}
      ${each(D4, "let q# = load_q(at + #u) * p.scale;")}
      ${each(D4, "let dy# = load_dy(at + #u);")}
      ${each(D4, "var g# = vec4<f32>();")}
      let own = load_statistics(head);
      ${
      overKeys(
        D4,
        `${each(D4, "let k# = load_k(kv + #u);")}
        let weight = exp(${sum(D4, "dot(q#, k#)")} - own.x);
        let slope = weight * (${sum(D4, "dot(dy#, load_v(kv + #u))")} - own.y);
        ${each(D4, "g# += slope * k#;")}`,
      )
    }
      ${each(D4, "dq[at + #u] = g# * p.scale;")}`,
  }));
}

/**
 * dk and dv [B, Tk, K, D]: a lane has one key and walks over the queries that may see it,
 * `blocks` [B, ⌈Tk / lanes⌉, 2] telling first and last of each run of keys.
 */
export function dkvProgram(variant: AttentionVariant): Program {
  const { D4, lanes, hasLayout } = variant;
  return cachedProgram(named("dkv", variant), () => ({
    bindings: [
      ...operands(variant, "q", "k", "v", "dy", "statistics"),
      ...integers(variant, "visible", "blocks"),
      { name: "dk", type: "vec4<f32>", write: true },
      { name: "dv", type: "vec4<f32>", write: true },
    ],
    parameters: PARAMETERS,
    workgroup: lanes,
    body: `
      let j = group.x * ${lanes}u + lane;
      let kv_head = group.y;
      let b = group.z;
      if (j >= p.Tk) { return; }
      let kv = ((b * p.Tk + j) * p.K + kv_head) * ${D4}u;
      ${each(D4, "let k# = load_k(kv + #u) * p.scale;")}
      ${each(D4, "let v# = load_v(kv + #u);")}
      ${each(D4, "var dk# = vec4<f32>();")}
      ${each(D4, "var dv# = vec4<f32>();")}
      ${
      hasLayout
        ? `let block = 2u * (b * ((p.Tk + ${lanes - 1}u) / ${lanes}u) + group.x);
      let first = u32(load_blocks(block));
      let last = u32(load_blocks(block + 1u));
      let start = load_visible(b);
      let prefix_end = load_visible(p.B + b);
      let key = i32(j);`
        : `let first = 0u;
      let last = p.Tq;`
    }
      let G = p.H / p.K;
      for (var i = first; i < last; i++) {
        for (var g = 0u; g < G; g++) {
          let head = (b * p.Tq + i) * p.H + kv_head * G + g;
          let at = head * ${D4}u;
          let own = load_statistics(head);
          ${each(D4, "let q# = load_q(at + #u);")}
          ${each(D4, "let dy# = load_dy(at + #u);")}
          var weight = exp(min(${sum(D4, "dot(q#, k#)")} - own.x, 80.0));
          ${
      hasLayout
        ? `let end = i32(own.w);
          let seen = (key >= start && key < min(prefix_end, end)) || (key >= i32(own.z) && key < end);
          weight = select(0.0, weight, seen);`
        : ""
    }
          let slope = weight * (${sum(D4, "dot(dy#, v#)")} - own.y);
          ${each(D4, "dv# += weight * dy#;")}
          ${each(D4, "dk# += slope * q#;")}
        }
      }
      ${each(D4, "dk[kv + #u] = dk# * p.scale;")}
      ${each(D4, "dv[kv + #u] = dv#;")}`,
  }));
}
