/**
 * What the WGSL programs of attention are put together from: loading vectors, turning them by
 * rotary angles, and walking over the keys that a query sees.
 * @module
 */
import type { HalfFormat } from "../../half/precision.ts";
import type { OperandType } from "../product/product_operands.ts";
import type { Binding } from "../runtime/program.ts";
import type { Rounding } from "../runtime/rounding.ts";

// B batch, Tq queries, Tk keys, N queries of all rows, H query heads, K key/value heads, G = H / K,
// D head dim

/** What the programs differ by. */
export interface AttentionVariant {
  /** D / 4: unrolled. */
  readonly D4: number;
  /** How queries, keys and values are read. */
  readonly inputs: OperandType;
  /** How the result's gradient is. */
  readonly dy: OperandType;
  /** And what the way back has put together. */
  readonly record: OperandType;
  /** In a 16-bit pass: what is rounded to. */
  readonly half: HalfFormat | null;
  /** Whether what is stored, gradients too, is rounded. */
  readonly roundsResult: boolean;
  /** Lanes of a workgroup. */
  readonly lanes: number;
  /**
   * Keys (or, for the gradients of keys and values, queries) that a workgroup reads together into
   * its memory, where they are turned; 0: each lane reads for itself.
   */
  readonly tile: number;
  /** Whose rows are `even` or `joined`; `none`: rows are even, and every query sees every key. */
  readonly layout: "none" | "even" | "joined";
  /** What is turned by the angles as it is read; D is a multiple of 8 then. Keys need a tile. */
  readonly turns: "nothing" | "queries" | "queries and keys";
}

/** Parameters of every program. */
export const PARAMETERS = {
  B: "u32",
  Tq: "u32",
  Tk: "u32",
  N: "u32",
  H: "u32",
  K: "u32",
  scale: "f32",
} as const;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** One line for each group of four dims, `#` standing for its number. */
export const each = (D4: number, line: string): string =>
  range(D4).map((d) => line.replaceAll("#", String(d))).join("\n      ");

/** The sum over all dims of a product, e.g. `dot(q#, k#)`. */
export const sum = (D4: number, term: string): string =>
  range(D4).map((d) => term.replaceAll("#", String(d))).join(" + ");

/** Operands of that variant. */
export const operands = ({ inputs, dy, record }: AttentionVariant, ...names: string[]): Binding[] =>
  names.map((name) => ({ name, ...name === "dy" ? dy : name === "record" ? record : inputs }));

/** What a program rounds. */
export const rounding = ({ half }: AttentionVariant): Rounding | undefined =>
  half === null ? undefined : { format: half, type: "vec4<f32>" };

/** A value as it is stored. */
export const stored = ({ roundsResult }: AttentionVariant, value: string): string =>
  roundsResult ? `round_half(${value})` : value;

/** What there is of the layout. */
export const integers = ({ layout }: AttentionVariant): Binding[] =>
  layout === "none" ? [] : [{ name: "visible", type: "i32" }];

/** The angles [B, T, D/2], where something is turned. */
export const angles = (turns: boolean): Binding[] =>
  turns ? ["cos", "sin"].map((name) => ({ name, type: "vec4<f32>" })) : [];

/** The name of a program. */
export const named = (what: string, variant: AttentionVariant): string => {
  const { D4, inputs, dy, record, lanes, tile, layout, turns, half, roundsResult } = variant;
  const types = new Set([inputs, dy, record].map(({ type }) => type));
  return [
    ...["attention", what, `D${D4 * 4}`, ...types, lanes, tile, layout],
    ...turns === "nothing" ? [] : ["turning", turns],
    ...half === null ? [] : [half],
    ...[inputs, dy].map(({ rounded }) => rounded ? "rounded" : "").filter(Boolean),
    ...roundsResult ? ["roundsResult"] : [],
  ].join(" ");
};

/**
 * `let`s of a head's vectors, `name0` to `name(D4 − 1)`: what `load` says at `#`, turned by the
 * angles from `angle` on where that is given.
 */
export function loadHead(D4: number, name: string, load: string, angle: string | null): string {
  if (angle === null) return each(D4, `let ${name}# = ${load};`);
  const half = D4 / 2;
  const other = (d: number) => String(d + half);
  return `${each(D4, `let ${name}_raw# = ${load};`)}
      ${
    range(half).map((d) =>
      `let ${name}_cos${d} = load_cos(${angle} + ${d}u);
      let ${name}_sin${d} = load_sin(${angle} + ${d}u);
      let ${name}${d} = ${name}_raw${d} * ${name}_cos${d} - ${name}_raw${
        other(d)
      } * ${name}_sin${d};
      let ${name}${other(d)} = ${name}_raw${
        other(d)
      } * ${name}_cos${d} + ${name}_raw${d} * ${name}_sin${d};`
    )
      .join("\n      ")
  }`;
}

/** Stores `value0` to `value(D4 − 1)` from `to[at]` on, turned back where `angle` is given. */
export function storeHead(
  variant: AttentionVariant,
  [to, at]: readonly [string, string],
  value: string,
  angle: string | null,
): string {
  const { D4 } = variant;
  const store = (d: number | string, value: string): string =>
    `${to}[${at} + ${d}u] = ${stored(variant, value)};`;
  if (angle === null) return each(D4, store("#", `${value}#`));
  const half = D4 / 2;
  return range(half).map((d) => {
    const [x, y, c, s] = [`${value}${d}`, `${value}${d + half}`, `${to}_cos${d}`, `${to}_sin${d}`];
    return `let ${c} = load_cos(${angle} + ${d}u);
      let ${s} = load_sin(${angle} + ${d}u);
      ${store(d, `${x} * ${c} + ${y} * ${s}`)}
      ${store(d + half, `${y} * ${c} - ${x} * ${s}`)}`;
  }).join("\n      ");
}

/** Where the gradients' programs find a query, `head` being the number of its head in all. */
export interface QueryRecord {
  /** Operands that hold it. */
  readonly names: readonly string[];
  /** Groups of four floats that the record of a head has. */
  readonly width: number;
  /** WGSL of its vectors. */
  readonly vectors: string;
  /** WGSL of what is known of it. */
  readonly own: string;
  /** Whether its vectors are scaled already. */
  readonly isScaled: boolean;
}

/** Turned and scaled in the record; on a CPU, where storing costs more, as it came if not turned. */
export function queryRecord({ D4, tile, turns }: AttentionVariant): QueryRecord {
  if (tile === 0 && turns === "nothing") {
    return {
      names: ["q", "record"],
      width: 1,
      vectors: `load_q(head * ${D4}u + #u)`,
      own: "load_record(head)",
      isScaled: false,
    };
  }
  const width = D4 + 1;
  return {
    names: ["record"],
    width,
    vectors: `load_record(head * ${width}u + #u)`,
    own: `load_record(head * ${width}u + ${D4}u)`,
    isScaled: true,
  };
}

/**
 * Where the queries and keys of row `b` begin among those of all rows, and how many there are. The
 * layout's numbers lie in one array, `packLayout()`.
 */
export const rowBounds = ({ layout }: AttentionVariant): string =>
  layout === "joined"
    ? `
      let bounds = 2u * p.B + 2u * p.N + b;
      let q_row = u32(load_visible(bounds));
      let q_count = u32(load_visible(bounds + 1u)) - q_row;
      let k_row = q_row;
      let k_count = q_count;`
    : `
      let q_row = b * p.Tq;
      let q_count = p.Tq;
      let k_row = b * p.Tk;
      let k_count = p.Tk;`;

/** The numbers of a program that has a query in each lane; lanes behind the last repeat it. */
export function queryOf(variant: AttentionVariant): string {
  const { lanes, D4, tile } = variant;
  const number = `group.x * ${lanes}u + lane`;
  return `
      let h = group.y;
      let b = group.z;
      let kv_head = h / (p.H / p.K);${rowBounds(variant)}
      ${
    tile === 0
      ? `let i = ${number};
      if (i >= q_count) { return; }`
      : `let is_query = ${number} < q_count;
      let i = min(${number}, q_count - 1u);`
  }
      let head = (q_row + i) * p.H + h;
      let at = head * ${D4}u;
      let angle = (q_row + i) * ${D4 >> 1}u;`;
}

/** `body` where the lane's query (or key) is its own. */
export const ifOwn = ({ tile }: AttentionVariant, condition: string, body: string): string =>
  tile === 0 ? body : `if (${condition}) {
      ${body}
      }`;

/** Which keys query `i` of row `b` sees, by their numbers in the row: [s0, e0) and [s1, e1). */
export const seenKeys = ({ layout }: AttentionVariant): string =>
  layout === "none"
    ? `
      let s0 = 0;
      let e0 = 0;
      let s1 = 0;
      let e1 = i32(k_count);`
    : `
      let end = load_visible(2u * p.B + p.N + q_row + i);
      let prefix_end = load_visible(p.B + b);
      let s0 = load_visible(b);
      let e0 = min(prefix_end, end);
      let s1 = max(load_visible(2u * p.B + q_row + i), prefix_end);
      let e1 = end;`;

/** Of the layout's array, where the windows of workgroups begin. */
const windows = ({ layout }: AttentionVariant): string =>
  layout === "joined" ? "3u * p.B + 1u + 2u * p.N" : "2u * p.B + 2u * p.N";

/** How many workgroups have the queries, or keys, of a row. */
const groups = ({ lanes }: AttentionVariant, count: string): string =>
  `((${count} + ${lanes - 1}u) / ${lanes}u)`;

/** Where the windows of this workgroup's queries begin: four integers. */
const queryWindow = (variant: AttentionVariant): string =>
  `${windows(variant)} + 4u * (b * ${groups(variant, "p.Tq")} + group.x)`;

/** Where the queries that may see this workgroup's keys stand: first and one past the last. */
export const keyWindow = (variant: AttentionVariant): string =>
  `${windows(variant)} + 4u * p.B * ${groups(variant, "p.Tq")} ` +
  `+ 2u * (b * ${groups(variant, "p.Tk")} + group.x)`;

/** Memory of a workgroup for `tile` rows each, by name: groups of four dims of a row. */
export const tiles = (tile: number, rows: Readonly<Record<string, number>>): string =>
  tile === 0 ? "" : Object.entries(rows)
    .map(([name, width]) => `var<workgroup> ${name}: array<vec4<f32>, ${tile * width}>;`)
    .join("\n");

/**
 * Loops that have the workgroup read rows [first, end) into its memory and then run `body` for
 * each, the number of the row in memory being `r`.
 *
 * @param width values of a row that are read by different lanes
 * @param read what a lane does for value `d` of row `row`, which goes to row `slot`
 */
export function overTiles(
  { tile, lanes }: AttentionVariant,
  [first, end]: readonly [string, string],
  width: number,
  read: string,
  body: string,
): string {
  return `for (var t = ${first}; t < ${end}; t += ${tile}u) {
        let held = min(${tile}u, ${end} - t);
        workgroupBarrier();
        for (var n = lane; n < held * ${width}u; n += ${lanes}u) {
          let slot = n / ${width}u;
          let d = n % ${width}u;
          let row = t + slot;
          ${read}
        }
        workgroupBarrier();
        for (var r = 0u; r < held; r++) {
          ${body}
        }
      }`;
}

/** What a lane reads of a key and a value into the workgroup's memory: a pair of the key's halves. */
function readKey(D4: number, turned: boolean): [width: number, read: string] {
  const from = `let kv = ((k_row + row) * p.K + kv_head) * ${D4}u + d;
          let to = slot * ${D4}u + d;`;
  if (!turned) {
    return [
      D4,
      `${from}
          tile_k[to] = load_k(kv);
          tile_v[to] = load_v(kv);`,
    ];
  }
  const half = D4 / 2;
  return [
    half,
    `${from}
          let key_angle = (k_row + row) * ${half}u + d;
          let c = load_cos(key_angle);
          let s = load_sin(key_angle);
          let x = load_k(kv);
          let y = load_k(kv + ${half}u);
          tile_k[to] = x * c - y * s;
          tile_k[to + ${half}u] = y * c + x * s;
          tile_v[to] = load_v(kv);
          tile_v[to + ${half}u] = load_v(kv + ${half}u);`,
  ];
}

/** A loop over the keys that a query sees, `k0` … and `v0` … being the key's and value's vectors. */
export function overKeys(variant: AttentionVariant, body: string): string {
  const { D4, tile, layout } = variant;
  if (tile === 0) {
    return `
      let n0 = max(e0 - s0, 0);
      let count = n0 + max(e1 - s1, 0);
      for (var t = 0; t < count; t++) {
        let j = select(s1 + t - n0, s0 + t, t < n0);
        let kv = ((k_row + u32(j)) * p.K + kv_head) * ${D4}u;
        ${each(D4, "let k# = load_k(kv + #u);")}
        ${each(D4, "let v# = load_v(kv + #u);")}
        ${body}
      }`;
  }
  const [width, read] = readKey(D4, variant.turns === "queries and keys");
  const walk = (first: string, end: string, [s, e]: [string, string]): string =>
    overTiles(
      variant,
      [first, end],
      width,
      read,
      `let j = i32(t + r);
          if (j >= ${s} && j < ${e}) {
        ${each(D4, `let k# = tile_k[r * ${D4}u + #u];`)}
        ${each(D4, `let v# = tile_v[r * ${D4}u + #u];`)}
        ${body}
          }`,
    );
  if (layout === "none") return walk("0u", "k_count", ["s1", "e1"]);
  return `
      let window = ${queryWindow(variant)};
      let first0 = u32(load_visible(window));
      let end0 = u32(load_visible(window + 1u));
      let first1 = u32(load_visible(window + 2u));
      let end1 = u32(load_visible(window + 3u));
      ${walk("first0", "end0", ["s0", "e0"])}
      ${walk("first1", "end1", ["s1", "e1"])}`;
}
