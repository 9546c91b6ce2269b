/**
 * Matrix products in WGSL. On a hardware adapter: square tiles in workgroup memory. Where a CPU
 * plays the GPU: no workgroup memory and no barriers; operands are textures, which that kind of
 * adapter reads ten times faster than buffers, and every lane keeps a block of the result.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type PackedFormat, PackedWeight } from "../packed_weight.ts";
import { roundedOperands } from "../precision.ts";
import type { GpuLaunch } from "./launch.ts";
import {
  type Epilogue,
  epilogueBindings,
  epilogueDeclarations,
  epilogueName,
  epilogueResources,
  storeSum,
} from "./product_store.ts";
import { THIN_ROWS, thinGroups, thinProgram } from "./thin_product.ts";
import { recordUnpacking } from "./unpacking.ts";
import { type BindingType, cachedProgram, grid, MAX_ITERATIONS, type Program } from "./program.ts";

// M rows of the result, N its columns, K the inner dimension

/**
 * How the operands lie in memory, all row by row.
 * `nt`: A [M, K], B [N, K]; `nn`: A [M, K], B [K, N]; `tn`: A [K, M], B [K, N].
 */
export type ProductKind = "nt" | "nn" | "tn";

/** A product C = A B of matrices that lie in tensors. */
export interface Product {
  readonly kind: ProductKind;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: tf.TensorInfo;
  readonly b: tf.TensorInfo;
  /** Where B's numbers are in 16 bits: `b` are the words, and this is what they stand for. */
  readonly bPacked?: { readonly format: PackedFormat; readonly shape: readonly number[] };
  readonly c: tf.TensorInfo;
  /** [N], added to every row. */
  readonly bias?: tf.TensorInfo;
  /** Adds to what C holds. */
  readonly accumulate?: boolean;
  /** Times A B, before anything is added. */
  readonly scale?: number;
  /** Where GELU(C) goes: shaped as C. */
  readonly activated?: tf.TensorInfo;
  /** First row of A (`tn`: of its K rows) that takes part. */
  readonly aRow?: number;
  /** First row of B that takes part. */
  readonly bRow?: number;
  /** First row of C that is written. */
  readonly cRow?: number;
  /** Columns of C in memory, where they are more than N; what lies beyond N is overwritten. */
  readonly cColumns?: number;
  /** Columns of A in memory, where they are more than K (`tn`: than M). */
  readonly aColumns?: number;
}

/** A weight as B of a product. `tensor` holds its numbers or words; by default, the weight's own. */
export function operandB(
  weight: tf.TensorInfo | PackedWeight,
  tensor: tf.TensorInfo = weight instanceof PackedWeight ? weight.words : weight,
): Pick<Product, "b" | "bPacked"> {
  if (!(weight instanceof PackedWeight)) return { b: tensor };
  return { b: tensor, bPacked: { format: weight.format, shape: weight.shape } };
}

const PARAMETERS = {
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

/** What follows the sums: `value(row, column4)` for each block of four columns that a lane holds. */
function store(row: string, column: string, value: string, epilogue: Epilogue): string {
  const at = `p.cOffset + ${row} * p.cStride + ${column}`;
  return `if (${row} < p.M && ${column} * 4u < p.N) { ${storeSum(epilogue, at, column, value)} }`;
}

/** Columns of the result that a lane keeps, where a CPU plays the GPU. */
const COLUMNS = 16;
/** Lanes of a workgroup there: one vector of that CPU. */
const LANES = 8;

/** Which shader computes a product of many rows. */
interface Variant {
  readonly kind: ProductKind;
  readonly operand: BindingType;
  /** The type of B, where it differs. */
  readonly operandB: BindingType;
  readonly epilogue: Epilogue;
  /** Tiles in workgroup memory, or how many rows of the result a lane keeps in registers. */
  readonly shape: "tiles" | 8 | 16;
  /** Whether tiles keep their values in float16, which they are rounded to already. */
  readonly half: boolean;
  /** `tn` with registers: how many of the K rows a turn of the loop takes. */
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
const TILE = 64;
const DEPTH = 16;

/** 16 × 16 lanes with 4 × 4 results each; tiles of A and B pass through workgroup memory. */
function tileBody({ kind, epilogue, half }: Variant): string {
  const toTile = half ? "f16" : "";
  const read = (value: string): string => half ? `f32(${value})` : value;
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
  const straight = (name: "a" | "b", first: string, limit: string): string => `
    {
      let k = lane / ${TILE / 4}u;
      let r4 = lane % ${TILE / 4}u;
      var v = vec4<f32>();
      if (k0 + k < p.K && ${first} + r4 * 4u < ${limit}) {
        v = load_${name}(p.${name}Offset + (k0 + k) * p.${name}Stride + ${first} / 4u + r4);
      }
      for (var j = 0u; j < 4u; j++) { ${name}_tile[k * ${TILE}u + r4 * 4u + j] = ${toTile}(v[j]); }
    }`;
  return `
    let m0 = group.y * ${TILE}u;
    let n0 = group.x * ${TILE}u;
    let tx = lane % 16u;
    let ty = lane / 16u;
    var sums: array<vec4<f32>, 4>;
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
    }`;
}

function vectorProgram(variant: Variant): Program {
  const { kind, operand, operandB, epilogue, shape, depth, half } = variant;
  const extras = `${epilogueName(epilogue)}${half ? " f16" : ""}`;
  const tiles = shape === "tiles";
  return cachedProgram(`product ${kind} ${operand} ${operandB} ${shape} ${depth}${extras}`, () => ({
    bindings: [
      { name: "a", type: operand },
      { name: "b", type: operandB },
      ...epilogueBindings(epilogue, "vec4<f32>"),
    ],
    parameters: PARAMETERS,
    workgroup: tiles ? 256 : LANES,
    usesF16: half,
    declarations: [
      epilogueDeclarations(epilogue, "vec4<f32>"),
      ...(tiles ? ["a", "b"] : []).map((name) =>
        `var<workgroup> ${name}_tile: array<${half ? "f16" : "f32"}, ${TILE * DEPTH}>;`
      ),
    ].join("\n"),
    body: tiles ? tileBody(variant) : registerBody(variant, shape),
  }));
}

/** One result a lane, for dims that are no multiples of 4. Strides and offsets count values. */
function scalarProgram(kind: ProductKind, epilogue: Epilogue): Program {
  const a = kind === "tn" ? "k * p.aStride + row" : "row * p.aStride + k";
  const b = kind === "nt" ? "column * p.bStride + k" : "k * p.bStride + column";
  return cachedProgram(`product ${kind} scalar${epilogueName(epilogue)}`, () => ({
    bindings: [
      { name: "a", type: "f32" },
      { name: "b", type: "f32" },
      ...epilogueBindings(epilogue, "f32"),
    ],
    parameters: PARAMETERS,
    workgroup: 64,
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

/** Whether rows of all three matrices can be read and written four values at a time. */
function isVectorised({ kind, N, K }: Product, [a, b, c]: readonly number[]): boolean {
  return a % 4 === 0 && b % 4 === 0 && c % 4 === 0 && (kind === "tn" || K % 4 === 0) &&
    (N % 4 === 0 || c > N);
}

/** What shaders of all shapes are given. */
type Operands = Pick<Variant, "operand" | "operandB" | "epilogue">;
type Chosen = [program: Program, groups: [number, number, number]];

/** The shader for few rows. */
function thin(l: GpuLaunch, operands: Operands, M: number, N: number): Chosen {
  const { isFallback } = l;
  const rows = 2 ** Math.ceil(Math.log2(M));
  return [thinProgram({ ...operands, rows, isFallback }, PARAMETERS), thinGroups(N, isFallback)];
}

/** The shader for many rows. */
function square(l: GpuLaunch, operands: Operands, { kind, M, N, K }: Product): Chosen {
  if (!l.isFallback) {
    const half = l.hasF16 && roundedOperands() === "fp16";
    const program = vectorProgram({ ...operands, kind, half, shape: "tiles", depth: 1 });
    return [program, [Math.ceil(N / TILE), Math.ceil(M / TILE), 1]];
  }
  const shape = M >= 128 ? 16 : 8;
  const depth = kind === "tn" && K % 4 === 0 ? 4 : 1;
  const program = vectorProgram({ ...operands, kind, half: false, shape, depth });
  return [program, [Math.ceil(N / COLUMNS), Math.ceil(M / (shape * LANES)), 1]];
}

/** Records a product. */
export function multiply(l: GpuLaunch, product: Product): void {
  if (product.kind === "tn" && product.K > MAX_ITERATIONS) {
    // The loop over the rows of A and B would be too long: one run of rows after the other.
    for (let start = 0; start < product.K; start += MAX_ITERATIONS) {
      multiply(l, {
        ...product,
        K: Math.min(MAX_ITERATIONS, product.K - start),
        aRow: (product.aRow ?? 0) + start,
        bRow: (product.bRow ?? 0) + start,
        bias: start === 0 ? product.bias : undefined,
        accumulate: product.accumulate || start > 0,
        activated: start + MAX_ITERATIONS < product.K ? undefined : product.activated,
      });
    }
    return;
  }
  const { kind, M, N, K, a, b, bPacked, c, bias, accumulate = false } = product;
  const { activated, scale = 1 } = product;
  const { aRow = 0, bRow = 0, cRow = 0 } = product;
  if (M === 0 || N === 0) return;
  const aColumns = product.aColumns ?? (kind === "tn" ? M : K);
  const bColumns = kind === "nt" ? K : N;
  const cColumns = product.cColumns ?? N;
  const bSize = (bPacked?.shape ?? b.shape).reduce((x, y) => x * y, 1);
  const flops = 2 * M * N * K + (activated ? 15 * M * N : 0);
  const bytes = 4 * (M * K + M * N * (accumulate ? 2 : 1) + (bias === undefined ? 0 : N)) +
    (bPacked === undefined ? 4 : 2) * Math.min(K * N, bSize) + (activated ? 4 * M * N : 0);
  const epilogue = {
    ...{ scaled: scale !== 1, bias: bias !== undefined },
    ...{ add: accumulate, gelu: activated !== undefined },
  };
  const vectorised = isVectorised(product, [aColumns, bColumns, cColumns]);
  if (bPacked !== undefined && (l.isFallback || !vectorised)) {
    // Textures, and rows that are no multiples of four, have no words: widened for this product.
    const wide = recordUnpacking(l, b, bPacked.format, bPacked.shape);
    multiply(l, { ...product, b: wide, bPacked: undefined });
    l.backend.disposeData(wide.dataId);
    return;
  }
  if (!vectorised) {
    l.dispatch(
      scalarProgram(kind, epilogue),
      [l.buffer(a), l.buffer(b), ...epilogueResources(l, c, bias, activated)],
      {
        ...{ M, N, K, aStride: aColumns, bStride: bColumns, cStride: cColumns },
        ...{ aOffset: aRow * aColumns, bOffset: bRow * bColumns, cOffset: cRow * cColumns },
        bLast: bSize - 1,
        scale,
      },
      grid(M * N, 64),
      { flops, bytes },
    );
    return;
  }
  const rowsOfA = kind === "tn" ? K : M;
  // A texture holds the rows that take part and no others.
  const resources = [
    l.operand(a, "a", aRow * aColumns, rowsOfA * aColumns),
    bPacked === undefined ? l.operand(b, "b") : l.buffer(b),
  ];
  const operands = {
    ...{ operand: l.operandType, operandB: bPacked?.format ?? l.operandType },
    epilogue,
  };
  const [program, groups] = kind === "nt" && M <= THIN_ROWS
    ? thin(l, operands, M, N)
    : square(l, operands, product);
  l.dispatch(
    program,
    [...resources, ...epilogueResources(l, c, bias, activated)],
    {
      ...{ M, N, K, aStride: aColumns / 4, bStride: bColumns / 4, cStride: cColumns / 4 },
      aOffset: l.isFallback ? 0 : aRow * aColumns / 4,
      bOffset: bRow * bColumns / 4,
      cOffset: cRow * cColumns / 4,
      bLast: Math.floor(bSize / 4) - 1,
      scale,
    },
    groups,
    { flops, bytes },
  );
}
