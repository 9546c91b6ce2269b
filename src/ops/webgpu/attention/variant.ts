/**
 * The variants of the attention programs, and what all four of them share: bindings, conditions of
 * their templates, and the WGSL that finds rows and visible keys.
 * @module
 */
import { PACKED_FORMATS } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import type { OperandType } from "../product/product_operands.ts";
import type { Binding } from "../runtime/program.ts";
import type { Rounding } from "../runtime/rounding.ts";
import { expandTemplate } from "../runtime/template.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, G = H / K,
// D head dim

/** How the programs differ. */
export interface AttentionVariant {
  /** D / 4: the vectors of a head, for which loops are unrolled. */
  readonly D4: number;
  /** How queries, keys and values are read. */
  readonly inputs: OperandType;
  /** How the gradient of the result is read. */
  readonly dy: OperandType;
  /** How it is read where it is read once: from its buffer, on any adapter. */
  readonly dyBuffer: OperandType;
  /** How the record of the backward pass is read. */
  readonly record: OperandType;
  /** In a 16-bit pass: the format that is rounded to. */
  readonly half: HalfFormat | null;
  /** Whether what is stored, gradients included, is rounded and stored in 16 bits. */
  readonly roundsResult: boolean;
  /** Lanes of a workgroup. */
  readonly lanes: number;
  /**
   * Keys (or, for the gradients of keys and values, queries) that a workgroup reads together into its
   * memory, rotated; 0: each lane reads them itself.
   */
  readonly tile: number;
  /** Rows are `even` or `joined`; `none`: rows are even, and every query sees every key. */
  readonly layout: "none" | "even" | "joined";
  /** What is rotated as it is read; D is a multiple of 8 then. Keys need a tile. */
  readonly rotates: "nothing" | "queries" | "queries and keys";
}

/** The parameters of every program. */
export const PARAMETERS = {
  B: "u32",
  Tq: "u32",
  Tk: "u32",
  N: "u32",
  H: "u32",
  K: "u32",
  scale: "f32",
} as const;

/** Bindings of operands of that variant. */
export const operands = ({ inputs, dy, record }: AttentionVariant, ...names: string[]): Binding[] =>
  names.map((name) => ({ name, ...name === "dy" ? dy : name === "record" ? record : inputs }));

/** The binding of a result. */
export const result = ({ half, roundsResult }: AttentionVariant, name: string): Binding => ({
  name,
  type: half !== null && roundsResult ? PACKED_FORMATS[half] : "vec4<f32>",
  write: true,
});

/** The rounding of a program. */
export const rounding = ({ half }: AttentionVariant): Rounding | undefined =>
  half === null ? undefined : { format: half, type: "vec4<f32>" };

/** The binding of the layout's integers, if there is a layout. */
export const integers = ({ layout }: AttentionVariant): Binding[] =>
  layout === "none" ? [] : [{ name: "visible", type: "i32" }];

/** The bindings of the angles [B, T, D/2], if something is rotated. */
export const angles = (rotates: boolean): Binding[] =>
  rotates ? ["cos", "sin"].map((name) => ({ name, type: "vec4<f32>" })) : [];

/** The name of a program. */
export const named = (what: string, variant: AttentionVariant): string => {
  const { D4, inputs, dy, dyBuffer, record, lanes, tile, layout, rotates, half, roundsResult } =
    variant;
  const types = [inputs, dy, dyBuffer, record].map(({ type }) => type);
  return [
    ...["attention", what, `D${D4 * 4}`, ...types, lanes, tile, layout],
    ...rotates === "nothing" ? [] : ["rotating", rotates],
    ...half === null ? [] : [half],
    ...[inputs, dy, dyBuffer].map(({ rounded }) => rounded ? "rounded" : "").filter(Boolean),
    ...roundsResult ? ["roundsResult"] : [],
  ].join(" ");
};

/** How the programs of the gradients read a query. */
export interface QueryRecord {
  /** The operands that hold it. */
  readonly names: readonly string[];
  /** Vectors of a head's record. */
  readonly width: number;
  /** Whether the record has the query, rotated and scaled; else q is read and then scaled. */
  readonly isScaled: boolean;
}

/**
 * The record has the query, unless it is not rotated and either the adapter is software, where storing
 * is slow, or the query is stored in 16 bits, which are fewer bytes to read again.
 */
export function queryRecord({ D4, tile, rotates, half }: AttentionVariant): QueryRecord {
  return rotates === "nothing" && (tile === 0 || half !== null)
    ? { names: ["q", "record"], width: 1, isScaled: false }
    : { names: ["record"], width: D4 + 1, isScaled: true };
}

/** Memory of a workgroup for `tile` rows of `width` vectors each, by name. */
export const tiles = (tile: number, rows: Readonly<Record<string, number>>): string =>
  tile === 0 ? "" : Object.entries(rows)
    .map(([name, width]) => `var<workgroup> ${name}: array<vec4<f32>, ${tile * width}>;`)
    .join("\n");

/** The index in the layout's table (`windows.ts`) of this workgroup's window of keys. */
function keyWindow({ layout, lanes }: AttentionVariant): string {
  const groups = `((p.Tq + ${lanes - 1}u) / ${lanes}u)`;
  return `${windowsAt(layout)} + 4u * (b * ${groups} + group.x)`;
}

/** The index in the layout's table of this workgroup's window of queries. */
export function queryWindow({ layout, lanes }: AttentionVariant): string {
  const groups = (count: string): string => `((${count} + ${lanes - 1}u) / ${lanes}u)`;
  return `${windowsAt(layout)} + 4u * p.B * ${groups("p.Tq")} ` +
    `+ 2u * (b * ${groups("p.Tk")} + group.x)`;
}

const windowsAt = (layout: AttentionVariant["layout"]): string =>
  layout === "joined" ? "3u * p.B + 1u + 2u * p.N" : "2u * p.B + 2u * p.N";

/** The first query and key of row `b` among those of all rows, and their number in the row. */
export const ROW_BOUNDS = `
#if joined
      let bounds = 2u * p.B + 2u * p.N + b;
      let q_row = u32(load_visible(bounds));
      let q_count = u32(load_visible(bounds + 1u)) - q_row;
      let k_row = q_row;
      let k_count = q_count;
#else
      let q_row = b * p.Tq;
      let q_count = p.Tq;
      let k_row = b * p.Tk;
      let k_count = p.Tk;
#end`;

/** The keys that query `i` of row `b` sees, numbered in the row: [s0, e0) and [s1, e1). */
export const SEEN_KEYS = `
#if layout
      let end = load_visible(2u * p.B + p.N + q_row + i);
      let prefix_end = load_visible(p.B + b);
      let s0 = load_visible(b);
      let e0 = min(prefix_end, end);
      let s1 = max(load_visible(2u * p.B + q_row + i), prefix_end);
      let e1 = end;
#else
      let s0 = 0;
      let e0 = 0;
      let s1 = 0;
      let e1 = i32(k_count);
#end`;

/** The WGSL of a template for a variant, with the conditions that all programs use. */
export function expandFor(
  variant: AttentionVariant,
  template: string,
  conditions: Readonly<Record<string, boolean>> = {},
): string {
  const { D4, tile, layout, rotates } = variant;
  return expandTemplate(template, {
    vectors: D4,
    conditions: {
      tile: tile > 0,
      layout: layout !== "none",
      joined: layout === "joined",
      rotates: rotates !== "nothing",
      rotates_keys: rotates === "queries and keys",
      ...conditions,
    },
  });
}

/** A value as it is stored: rounded if the variant says so. */
export const stored = ({ roundsResult }: AttentionVariant, value: string): string =>
  roundsResult ? `round_half(${value})` : value;

/** A rotated query or key: in a 16-bit pass it is rounded. */
export const turned = ({ half }: AttentionVariant, value: string): string =>
  half === null ? value : `round_half(${value})`;

/**
 * A template that runs `step` for every key that a query sees, with the key in `k#` and its value in
 * `v#`. With tiles, the lanes of a workgroup read the keys in the window of all their queries into
 * the workgroup's memory, rotated, and each lane skips those that its own query does not see.
 */
export function overKeys(variant: AttentionVariant, step: string): string {
  const { D4, tile, lanes, layout, rotates } = variant;
  const half = D4 / 2;
  const read = rotates === "queries and keys" ? half : D4; // values or pairs of them of a key
  return `
#if !tile
      let n0 = max(e0 - s0, 0);
      let count = n0 + max(e1 - s1, 0);
      for (var t = 0; t < count; t++) {
        let j = select(s1 + t - n0, s0 + t, t < n0);
        let kv = ((k_row + u32(j)) * p.K + kv_head) * ${D4}u;
        let k# = load_k(kv + #u);
        let v# = load_v(kv + #u);
        ${step}
      }
#else
#if layout
      let window = ${keyWindow(variant)};
      let first0 = u32(load_visible(window));
      let end0 = u32(load_visible(window + 1u));
      let first1 = u32(load_visible(window + 2u));
      let end1 = u32(load_visible(window + 3u));
#else
      let first1 = 0u;
      let end1 = k_count;
#end
#for w of ${layout === "none" ? "1" : "0 1"}
      for (var t = first$w; t < end$w; t += ${tile}u) {
        let held = min(${tile}u, end$w - t);
        workgroupBarrier();
        for (var n = lane; n < held * ${read}u; n += ${lanes}u) {
          let slot = n / ${read}u;
          let d = n % ${read}u;
          let row = t + slot;
          let kv = ((k_row + row) * p.K + kv_head) * ${D4}u + d;
          let to = slot * ${D4}u + d;
#if rotates_keys
          let key_angle = (k_row + row) * ${half}u + d;
          let c = load_cos(key_angle);
          let s = load_sin(key_angle);
          let x = load_k(kv);
          let y = load_k(kv + ${half}u);
          tile_k[to] = ${turned(variant, "x * c - y * s")};
          tile_k[to + ${half}u] = ${turned(variant, "y * c + x * s")};
          tile_v[to] = load_v(kv);
          tile_v[to + ${half}u] = load_v(kv + ${half}u);
#else
          tile_k[to] = load_k(kv);
          tile_v[to] = load_v(kv);
#end
        }
        workgroupBarrier();
        for (var r = 0u; r < held; r++) {
          let j = i32(t + r);
          if (j >= s$w && j < e$w) {
            let k# = tile_k[r * ${D4}u + #u];
            let v# = tile_v[r * ${D4}u + #u];
            ${step}
          }
        }
      }
#end
#end`;
}

/**
 * A template that stores \`value#\` from \`to[at]\` on; if \`rotates\`, rotated back by the angles from
 * \`angle\` on.
 */
export function storeHead(
  variant: AttentionVariant,
  rotates: boolean,
  [to, at]: readonly [to: string, at: string],
  value: string,
): string {
  if (!rotates) return `store_${to}(${at} + #u, ${stored(variant, `${value}#`)});`;
  // In a 16-bit pass the gradient of the rotated vector is rounded too.
  const [first, second] = [`${value}#`, `${value}##`].map((one) => stored(variant, one));
  const forth = stored(variant, `${to}_first# * ${to}_cos# + ${to}_second# * ${to}_sin#`);
  const back = stored(variant, `${to}_second# * ${to}_cos# - ${to}_first# * ${to}_sin#`);
  return `
#pairs
      let ${to}_cos# = load_cos(angle + #u);
      let ${to}_sin# = load_sin(angle + #u);
      let ${to}_first# = ${first};
      let ${to}_second# = ${second};
      store_${to}(${at} + #u, ${forth});
      store_${to}(${at} + ##u, ${back});
#end`;
}

/** Which query a lane has; with tiles, lanes behind the last repeat it: all must reach the barriers. */
export const queryOfLane = ({ lanes }: AttentionVariant): string => `
#if tile
      let is_query = group.x * ${lanes}u + lane < q_count;
      let i = min(group.x * ${lanes}u + lane, q_count - 1u);
#else
      let i = group.x * ${lanes}u + lane;
      if (i >= q_count) { return; }
#end`;
