/**
 * Matrix products in WGSL: chooses a shader and dispatches it.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { PackedWeight } from "../../half/packed_weight.ts";
import type { HalfFormat } from "../../half/precision.ts";
import type { GpuLaunch } from "../runtime/launch.ts";
import {
  bindOperand,
  type Operands,
  type PackedNumbers,
  storedNumbers,
} from "./product_operands.ts";
import {
  COLUMNS,
  LANES,
  PARAMETERS,
  type ProductKind,
  scalarProgram,
  TILE,
  vectorProgram,
} from "./product_shaders.ts";
import { type Epilogue, epilogueResources, type EpilogueTensors } from "./product_store.ts";
import { halfCopyOf } from "../runtime/half_copies.ts";
import { storedFormat } from "../runtime/half_storage.ts";
import { grid, MAX_ITERATIONS, type Program } from "../runtime/program.ts";
import { THIN_ROWS, thinGroups, thinProgram } from "./thin_product.ts";
import { recordUnpacking } from "./unpacking.ts";

// M rows of the result, N its columns, K the inner dimension

/** A product C = A B of matrices in tensors. */
export interface Product extends EpilogueTensors {
  readonly kind: ProductKind;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: tf.TensorInfo;
  readonly b: tf.TensorInfo;
  /** If A's numbers are in 16 bits: `a` holds the words, and this describes the numbers. */
  readonly aPacked?: PackedNumbers;
  /** The same for B. */
  readonly bPacked?: PackedNumbers;
  readonly c: tf.TensorInfo;
  /** [N], added to every row. */
  readonly bias?: tf.TensorInfo;
  /** In a 16-bit pass: the format that A, B and the bias are rounded to. */
  readonly half?: HalfFormat;
  /** Rounds A B with its bias before it is scaled and C is added; the sum must fit in one run then. */
  readonly roundsSum?: boolean;
  /** Rounds the final value of C. */
  readonly roundsResult?: boolean;
  /** Adds to C. */
  readonly accumulate?: boolean;
  /** Times A B, before C is added. */
  readonly scale?: number;
  /** First row of A (`tn`: of its K rows) that takes part. */
  readonly aRow?: number;
  /** First row of B that takes part. */
  readonly bRow?: number;
  /** First column of A (not `tn`) that takes part; needs `aColumns`. */
  readonly aColumn?: number;
  /** First column of B (`nt`) that takes part; needs `bColumns`. */
  readonly bColumn?: number;
  /** First row of C that is written. */
  readonly cRow?: number;
  /** Columns of C in memory, if more than N; those beyond N are overwritten. */
  readonly cColumns?: number;
  /** Columns of A in memory, if more than K (`tn`: than M). */
  readonly aColumns?: number;
  /** `nt`: columns of B in memory, if more than K. */
  readonly bColumns?: number;
}

/** A weight as B of a product. `tensor` holds its numbers or words; by default, the weight's own. */
export function operandB(
  weight: tf.TensorInfo | PackedWeight,
  tensor: tf.TensorInfo = weight instanceof PackedWeight ? weight.words : weight,
): Pick<Product, "b" | "bPacked"> {
  if (!(weight instanceof PackedWeight)) return { b: tensor };
  return { b: tensor, bPacked: { format: weight.format, shape: weight.shape } };
}

/** Whether rows of all three matrices can be read and written four values at a time. */
function isVectorised({ kind, N, K }: Product, [a, b, c]: readonly number[]): boolean {
  return a % 4 === 0 && b % 4 === 0 && c % 4 === 0 && (kind === "tn" || K % 4 === 0) &&
    (N % 4 === 0 || c > N);
}

type Chosen = [program: Program, groups: [number, number, number]];

/** The shader for few rows. */
function thin(l: GpuLaunch, operands: Operands, epilogue: Epilogue, M: number, N: number): Chosen {
  const { isFallback } = l;
  const rows = 2 ** Math.ceil(Math.log2(M));
  const program = thinProgram({ operands, epilogue, rows, isFallback }, PARAMETERS);
  return [program, thinGroups(N, isFallback)];
}

/** The shader for many rows. */
function square(
  l: GpuLaunch,
  operands: Operands,
  epilogue: Epilogue,
  { kind, M, N, K, half }: Product,
): Chosen {
  const variant = { operands, epilogue, kind };
  if (!l.isFallback) {
    const narrow = l.hasF16 && half === "fp16";
    const program = vectorProgram({ ...variant, narrow, shape: "tiles", depth: 1 });
    return [program, [Math.ceil(N / TILE), Math.ceil(M / TILE), 1]];
  }
  const shape = M >= 128 ? 16 : 8;
  const depth = kind === "tn" && K % 4 === 0 ? 4 : 1;
  const program = vectorProgram({ ...variant, narrow: false, shape, depth });
  return [program, [Math.ceil(N / COLUMNS), Math.ceil(M / (shape * LANES)), 1]];
}

/** Whether a product is computed in one run, so that its sum can be rounded and then added to C. */
export function isOneRun({ K }: Pick<Product, "K">): boolean {
  return K <= MAX_ITERATIONS;
}

/** The product cut into runs of K that are short enough for one loop. */
function inRuns(product: Product): Product[] {
  const { kind, K, bias, accumulate, activated, roundsSum, roundsResult } = product;
  const { aRow = 0, bRow = 0, aColumn = 0, bColumn = 0, aColumns, bColumns } = product;
  if ((roundsSum && accumulate) || product.addend) {
    throw new Error(`Cannot round a sum of ${K} terms before it is added: it is computed in runs`);
  }
  const starts = Array.from(
    { length: Math.ceil(K / MAX_ITERATIONS) },
    (_, i) => i * MAX_ITERATIONS,
  );
  return starts.map((start) => {
    const isLast = start + MAX_ITERATIONS >= K;
    return {
      ...product,
      K: Math.min(MAX_ITERATIONS, K - start),
      ...(kind === "tn" ? { aRow: aRow + start } : {
        aColumn: aColumn + start,
        aColumns: aColumns ?? K,
      }),
      ...(kind === "nt"
        ? { bColumn: bColumn + start, bColumns: bColumns ?? K }
        : { bRow: bRow + start }),
      bias: start === 0 ? bias : undefined,
      accumulate: accumulate || start > 0,
      activated: isLast ? activated : undefined,
      roundsSum: false,
      roundsResult: isLast && (roundsSum || roundsResult),
    };
  });
}

/** Bytes and operations of a product. */
function workOf(
  { M, N, K, c, activated, addend, bias, accumulate = false, aPacked, bPacked }: Product,
  bSize: number,
): { flops: number; bytes: number } {
  const width = (packed: unknown): number => packed === undefined ? 4 : 2;
  const results = [c, ...accumulate ? [c] : [], ...activated ? [activated] : []];
  return {
    flops: 2 * M * N * K + (activated ? 15 * M * N : 0),
    bytes: width(aPacked) * M * K + width(bPacked) * Math.min(K * N, bSize) +
      M * N * results.reduce((sum, tensor) => sum + width(storedFormat(tensor)), 0) +
      (addend === undefined ? 0 : width(addend.format) * M * N) + (bias === undefined ? 0 : 4 * N),
  };
}

/**
 * Whether C may be stored in 16 bits: it is computed in one run, four columns at a time, and nothing
 * is added to it.
 */
export function canStoreResult(
  { kind, M, N, K }: Pick<Product, "kind" | "M" | "N" | "K">,
): boolean {
  const columns = kind === "tn" ? M : K;
  return N % 4 === 0 && columns % 4 === 0 && isOneRun({ K });
}

/** Runs `use` on the product with that operand widened into a tensor if it is in 16 bits. */
function withWide(
  l: GpuLaunch,
  product: Product,
  name: "a" | "b",
  use: (product: Product) => void,
): void {
  const packed = product[`${name}Packed`];
  if (packed === undefined) return use(product);
  if (storedFormat(product[name]) !== undefined) {
    l.buffer(product[name]); // widens it
    return use({ ...product, [`${name}Packed`]: undefined });
  }
  const wide = recordUnpacking(l, product[name], packed.format, packed.shape);
  use({ ...product, [name]: wide, [`${name}Packed`]: undefined });
  l.backend.disposeData(wide.dataId);
}

/**
 * The workgroups of a product if its shader can write sums of A's columns and of the squares of C: the
 * one with tiles, `tn`. Otherwise 0.
 */
export function groupsOfSums(
  l: GpuLaunch,
  product: Pick<Product, "kind" | "M" | "N" | "K">,
): number {
  const { kind, M, N } = product;
  const fits = kind === "tn" && !l.isFallback && canStoreResult(product);
  return fits ? Math.ceil(N / TILE) * Math.ceil(M / TILE) : 0;
}

/**
 * Records a product. Operands that are stored in 16 bits are read so, and a weight's copy in 16 bits
 * in place of the weight.
 */
export function multiply(l: GpuLaunch, given: Product): void {
  const copy = given.half && !given.bPacked ? halfCopyOf(given.b, given.half) : undefined;
  const product: Product = {
    ...given,
    b: copy ?? given.b,
    aPacked: given.aPacked ?? storedNumbers(given.a),
    bPacked: given.bPacked ?? storedNumbers(copy ?? given.b),
  };
  const { kind, M, N, K, a, b, aPacked, bPacked, c, bias, activated } = product;
  const { scale = 1, accumulate = false, half = null } = product;
  const { aRow = 0, bRow = 0, cRow = 0, aColumn = 0, bColumn = 0 } = product;
  if (M === 0 || N === 0) return;
  if (!isOneRun(product)) {
    for (const run of inRuns(product)) multiply(l, run);
    return;
  }
  const aColumns = product.aColumns ?? (kind === "tn" ? M : K);
  const bColumns = kind === "nt" ? product.bColumns ?? K : N;
  const cColumns = product.cColumns ?? N;
  const bSize = (bPacked?.shape ?? b.shape).reduce((x, y) => x * y, 1);
  const vectorised = isVectorised(product, [aColumns, bColumns, cColumns]);
  const valueType = vectorised ? "vec4<f32>" : "f32";
  const epilogue: Epilogue = {
    ...{ scaled: scale !== 1, bias: bias !== undefined },
    ...{ add: accumulate, gelu: activated !== undefined },
    ...{ columnSums: product.columnSums !== undefined, squares: product.squares !== undefined },
    addend: product.addend && (product.addend.format ?? valueType),
    roundsSum: product.roundsSum ?? false,
    roundsResult: product.roundsResult ?? false,
    stores: storedFormat(c),
    storesActivated: activated && storedFormat(activated),
  };
  const results = epilogueResources(l, c, bias, product);
  const work = workOf(product, bSize);
  if (!vectorised) {
    // If a row is not a multiple of four, values are read one by one, which words cannot be.
    if (aPacked ?? bPacked) {
      withWide(
        l,
        product,
        "a",
        (product) => withWide(l, product, "b", (product) => multiply(l, product)),
      );
      return;
    }
    l.dispatch(
      scalarProgram(kind, half, epilogue),
      [l.buffer(a), l.buffer(b), ...results],
      {
        ...{ M, N, K, aStride: aColumns, bStride: bColumns, cStride: cColumns },
        aOffset: aRow * aColumns + aColumn,
        bOffset: bRow * bColumns + bColumn,
        cOffset: cRow * cColumns,
        bLast: bSize - 1,
        scale,
      },
      grid(M * N, 64),
      work,
    );
    return;
  }
  const rowsOfA = kind === "tn" ? K : M;
  // A texture holds only the rows that take part.
  const [inA, typeA] = bindOperand(l, "a", a, aPacked, half, aRow * aColumns, rowsOfA * aColumns);
  const [inB, typeB] = bindOperand(l, "b", b, bPacked, half);
  const operands: Operands = { a: typeA, b: typeB, half };
  const [program, groups] = kind === "nt" && M <= THIN_ROWS
    ? thin(l, operands, epilogue, M, N)
    : square(l, operands, epilogue, product);
  l.dispatch(
    program,
    [inA, inB, ...results],
    {
      ...{ M, N, K, aStride: aColumns / 4, bStride: bColumns / 4, cStride: cColumns / 4 },
      aOffset: ((l.isFallback ? 0 : aRow * aColumns) + aColumn) / 4,
      bOffset: (bRow * bColumns + bColumn) / 4,
      cOffset: cRow * cColumns / 4,
      bLast: Math.floor(bSize / 4) - 1,
      scale,
    },
    groups,
    work,
  );
}
