/**
 * Shaders of matrix products. On hardware: square tiles in workgroup memory. On a software adapter:
 * no workgroup memory and no barriers; operands are textures, which such an adapter reads ten times
 * faster than buffers, and every lane keeps a block of the result.
 * @module
 */
import type { HalfFormat } from "../../half/precision.ts";
import {
  type Operands,
  operandsName,
  productBindings,
  productRounding,
} from "./product_operands.ts";
import { type Epilogue, epilogueDeclarations, epilogueName, storeSum } from "./product_store.ts";
import { cachedProgram, type Program } from "../runtime/program.ts";

// M rows of the result, N its columns, K the inner dimension

/**
 * How the operands lie in memory, all row by row.
 * `nt`: A [M, K], B [N, K]; `nn`: A [M, K], B [K, N]; `tn`: A [K, M], B [K, N].
 */
export type ProductKind = "nt" | "nn" | "tn";

/** The parameters of every product. */
export const PARAMETERS = {
  M: "u32",
  N: "u32",
  K: "u32",
  aStride: "u32", // all strides and offsets in vec4
  bStride: "u32",
  cStride: "u32",
  aOffset: "u32",
  bOffset: "u32",
  cOffset: "u32",
  bLast: "u32",
  scale: "f32",
} as const;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Stores a block of four columns of a row. */
function store(row: string, column: string, value: string, epilogue: Epilogue): string {
  const at = `p.cOffset + ${row} * p.cStride + ${column}`;
  return `if (${row} < p.M && ${column} * 4u < p.N) { ${storeSum(epilogue, at, column, value)} }`;
}

/** Columns of the result that a lane keeps on a software adapter. */
export const COLUMNS = 16;
/** Lanes of a workgroup there: one vector of the CPU. */
export const LANES = 8;

/** Which shader computes a product of many rows. */
export interface Variant {
  readonly kind: ProductKind;
  readonly operands: Operands;
  readonly epilogue: Epilogue;
  /** Tiles in workgroup memory, or the rows of the result that a lane keeps in registers. */
  readonly shape: "tiles" | 8 | 16;
  /** Whether tiles keep their values, which are rounded to float16, in float16. */
  readonly narrow: boolean;
  /** `tn` with registers: how many of the K rows an iteration takes. */
  readonly depth: 1 | 4;
}

/** A lane has 8 or 16 rows of C, a workgroup 8 times as many rows and 16 columns. */
function registerBody({ kind, epilogue, depth }: Variant, rowsOfLane: number): string {
  const rows = range(rowsOfLane);
  const blocks = range(COLUMNS / 4);
  const lines: string[] = [
    `let column = group.x * ${COLUMNS / 4}u;`,
    // tn reads four neighbouring rows of C at once, so a lane's rows are two runs of four.
    kind === "tn"
      ? `let row4 = group.y * ${rowsOfLane * LANES / 4}u + lane;`
      : `let row = group.y * ${rowsOfLane * LANES}u + lane;`,
    ...rows.flatMap((r) => blocks.map((n) => `var c${r}_${n} = vec4<f32>();`)),
  ];
  const b = (index: string): string => `load_b(min(p.bOffset + ${index}, p.bLast))`;
  if (kind === "tn") {
    lines.push(`for (var k = 0u; k < p.K; k += ${depth}u) {`);
    for (const d of range(depth)) {
      for (const run of range(rowsOfLane / 4)) {
        const column = `row4 + ${run * LANES}u`;
        lines.push(`let a${run}_${d} = load_a(p.aOffset + (k + ${d}u) * p.aStride + ${column});`);
      }
      for (const n of blocks) {
        lines.push(`let b${n}_${d} = ${b(`(k + ${d}u) * p.bStride + column + ${n}u`)};`);
      }
    }
    for (const r of rows) {
      for (const n of blocks) {
        const terms = range(depth).map((d) => `a${Math.floor(r / 4)}_${d}[${r % 4}] * b${n}_${d}`);
        lines.push(`c${r}_${n} += ${terms.join(" + ")};`);
      }
    }
    lines.push("}");
  } else {
    lines.push(`for (var k = 0u; k < p.K / 4u; k++) {`);
    for (const r of rows) {
      lines.push(`let a${r} = load_a(p.aOffset + (row + ${r * LANES}u) * p.aStride + k);`);
    }
    for (const n of blocks) {
      if (kind === "nt") {
        for (const j of range(4)) {
          lines.push(`let b${n}_${j} = ${b(`(column * 4u + ${n * 4 + j}u) * p.bStride + k`)};`);
        }
        for (const r of rows) {
          const dots = range(4).map((j) => `dot(a${r}, b${n}_${j})`);
          lines.push(`c${r}_${n} += vec4<f32>(${dots.join(", ")});`);
        }
      } else {
        for (const j of range(4)) {
          lines.push(`let b${n}_${j} = ${b(`(k * 4u + ${j}u) * p.bStride + column + ${n}u`)};`);
        }
        for (const r of rows) {
          const terms = range(4).map((j) => `a${r}[${j}] * b${n}_${j}`);
          lines.push(`c${r}_${n} += ${terms.join(" + ")};`);
        }
      }
    }
    lines.push("}");
  }
  for (const r of rows) {
    const row = kind === "tn"
      ? `((row4 + ${Math.floor(r / 4) * LANES}u) * 4u + ${r % 4}u)`
      : `(row + ${r * LANES}u)`;
    for (const n of blocks) {
      lines.push(store(row, `(column + ${n}u)`, `c${r}_${n}`, epilogue));
    }
  }
  return lines.join("\n");
}

/** Side of a workgroup's tile of C and depth of a step, on hardware. */
export const TILE = 64;
const DEPTH = 16;

/** 16 × 16 lanes with 4 × 4 results each; tiles of A and B pass through workgroup memory. */
function tileBody({ kind, epilogue, narrow }: Variant): string {
  const toTile = narrow ? "f16" : "";
  const read = (value: string): string => narrow ? `f32(${value})` : value;
  const b4 = range(4).map((j) => read(`b_tile[at + ${j}u]`)).join(", ");
  // A's tile is kept as [DEPTH][TILE], B's as [DEPTH][TILE], so that the inner loop reads vec4s.
  const transposed = (name: "a" | "b", first: string, limit: string): string => `
    {
      let r = lane / ${DEPTH / 4}u;
      let k4 = lane % ${DEPTH / 4}u;
      var v = vec4<f32>();
      if (${first} + r < ${limit} && (k0 / 4u + k4) * 4u < p.K) {
        v = load_${name}(p.${name}Offset + (${first} + r) * p.${name}Stride + k0 / 4u + k4);
      }
      for (var j = 0u; j < 4u; j++) { ${name}_tile[(k4 * 4u + j) * ${TILE}u + r] = ${toTile}(v[j]); }
    }`;
  const { columnSums, squares } = epilogue;
  const straight = (name: "a" | "b", first: string, limit: string): string => `
    {
      let k = lane / ${TILE / 4}u;
      let r4 = lane % ${TILE / 4}u;
      var v = vec4<f32>();
      if (k0 + k < p.K && ${first} + r4 * 4u < ${limit}) {
        v = load_${name}(p.${name}Offset + (k0 + k) * p.${name}Stride + ${first} / 4u + r4);
      }
      for (var j = 0u; j < 4u; j++) { ${name}_tile[k * ${TILE}u + r4 * 4u + j] = ${toTile}(v[j]); }
      ${name === "a" && columnSums ? "column_sum += v;" : ""}
    }`;
  return `
    let m0 = group.y * ${TILE}u;
    let n0 = group.x * ${TILE}u;
    let tx = lane % 16u;
    let ty = lane / 16u;
    var sums: array<vec4<f32>, 4>;
    ${columnSums ? "var column_sum = vec4<f32>();" : ""}
    ${squares ? "var square_sum = 0.0;" : ""}
    for (var k0 = 0u; k0 < p.K; k0 += ${DEPTH}u) {
      ${kind === "tn" ? straight("a", "m0", "p.M") : transposed("a", "m0", "p.M")}
      ${kind === "nt" ? transposed("b", "n0", "p.N") : straight("b", "n0", "p.N")}
      workgroupBarrier();
      for (var k = 0u; k < ${DEPTH}u; k++) {
        let at = k * ${TILE}u + tx * 4u;
        let bv = vec4<f32>(${b4});
        for (var r = 0u; r < 4u; r++) {
          sums[r] += ${read(`a_tile[k * ${TILE}u + ty * 4u + r]`)} * bv;
        }
      }
      workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r++) {
      let row = m0 + ty * 4u + r;
      let column = n0 / 4u + tx;
      ${store("row", "column", "sums[r]", epilogue)}
    }
    ${columnSums ? STORE_COLUMN_SUMS : ""}
    ${squares ? STORE_SQUARES : ""}`;
}

/** The lanes i, i + 16, … have the sums of the same four columns; the first tile of a row stores them. */
const STORE_COLUMN_SUMS = `
    column_parts[lane] = column_sum;
    workgroupBarrier();
    if (group.x == 0u && lane < 16u && m0 + lane * 4u < p.M) {
      var sum = vec4<f32>();
      for (var i = lane; i < 256u; i += 16u) { sum += column_parts[i]; }
      store_column_sums(m0 / 4u + lane, round_half(sum));
    }`;

const STORE_SQUARES = `
    square_parts[lane] = square_sum;
    workgroupBarrier();
    for (var s = 128u; s > 0u; s >>= 1u) {
      if (lane < s) { square_parts[lane] += square_parts[lane + s]; }
      workgroupBarrier();
    }
    if (lane == 0u) { store_squares(group.y * groups.x + group.x, square_parts[0]); }`;

export function vectorProgram(variant: Variant): Program {
  const { kind, operands, epilogue, shape, depth, narrow } = variant;
  const extras = `${epilogueName(epilogue)}${narrow ? " f16" : ""}`;
  const tiles = shape === "tiles";
  const type = "vec4<f32>";
  const name = `product ${kind} ${operandsName(operands)} ${shape} ${depth}${extras}`;
  return cachedProgram(name, () => ({
    bindings: productBindings(operands, epilogue, type),
    parameters: PARAMETERS,
    workgroup: tiles ? 256 : LANES,
    usesF16: narrow,
    rounds: productRounding(operands, type),
    declarations: [
      epilogueDeclarations(epilogue, type),
      ...(tiles ? ["a", "b"] : []).map((name) =>
        `var<workgroup> ${name}_tile: array<${narrow ? "f16" : "f32"}, ${TILE * DEPTH}>;`
      ),
      epilogue.columnSums ? "var<workgroup> column_parts: array<vec4<f32>, 256>;" : "",
      epilogue.squares ? "var<workgroup> square_parts: array<f32, 256>;" : "",
    ].join("\n"),
    body: tiles ? tileBody(variant) : registerBody(variant, shape),
  }));
}

/** One result a lane, for dims that are no multiples of 4. Strides and offsets count values. */
export function scalarProgram(
  kind: ProductKind,
  half: HalfFormat | null,
  epilogue: Epilogue,
): Program {
  const a = kind === "tn" ? "k * p.aStride + row" : "row * p.aStride + k";
  const b = kind === "nt" ? "column * p.bStride + k" : "k * p.bStride + column";
  const type = { type: "f32", rounded: half !== null } as const;
  const operands: Operands = { a: type, b: type, half };
  const name = `product ${kind} scalar ${operandsName(operands)}${epilogueName(epilogue)}`;
  return cachedProgram(name, () => ({
    bindings: productBindings(operands, epilogue, "f32"),
    parameters: PARAMETERS,
    workgroup: 64,
    rounds: productRounding(operands, "f32"),
    declarations: epilogueDeclarations(epilogue, "f32"),
    body: `
      if (index >= p.M * p.N) { return; }
      let row = index / p.N;
      let column = index % p.N;
      var sum = 0.0;
      for (var k = 0u; k < p.K; k++) {
        sum += load_a(p.aOffset + ${a}) * load_b(min(p.bOffset + ${b}, p.bLast));
      }
      let at = p.cOffset + row * p.cStride + column;
      ${storeSum(epilogue, "at", "column", "sum")}`,
  }));
}
