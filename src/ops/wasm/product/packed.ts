/**
 * Frozen weights in 16 or 8 bits on the wasm heap. A product widens the weight, or a large block of it,
 * into scratch memory and multiplies it there; for a few rows it is widened in registers.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { checkRowIds } from "../../row_ids.ts";
import type { LinearProduct } from "../../fused_linear.ts";
import { PackedWeight, packedWords, type Weight } from "../../half/packed_weight.ts";
import { FORMAT_CODES } from "../round_half.ts";
import type { GemmFunction } from "./gemm.ts";
import { GrowingBlock } from "../runtime/growing_block.ts";
import { type Launch, launch } from "../runtime/launch.ts";
import type { KernelModule } from "../runtime/kernel_module.ts";
import { runRange } from "../runtime/parts.ts";

// O output features, I input features, V rows of a table, C channels

/** A kernel's code of the weight's format; 0: float32. */
export function formatCode(weight: Weight): number {
  return weight instanceof PackedWeight ? FORMAT_CODES[weight.format] : 0;
}

/** Most rows of x that are multiplied with W widened in registers. */
const FEW_ROWS = 4;

/**
 * Floats of a widened block, at most: 16 MiB, which holds most weights whole. Blocks that fit in a
 * core's cache make the BLAS up to 1.5 times slower, because it copies its left operand again for
 * each block.
 */
const BLOCK_FLOATS = 2 ** 22;

const blocks = new WeakMap<KernelModule, GrowingBlock>();

/** Address of the block, kept for the next product. */
function blockAddress(module: KernelModule, floats: number): number {
  let block = blocks.get(module);
  if (block === undefined) blocks.set(module, block = new GrowingBlock(module.heap));
  return block.address(floats);
}

/** Widens W [O, I] a block of rows at a time: `use` gets the first row and the number of rows. */
function eachBlock(
  module: KernelModule,
  format: number,
  [O, I]: readonly number[],
  words: number,
  block: { address: number; rows: number },
  use: (first: number, rows: number) => void,
): void {
  for (let first = 0; first < O; first += block.rows) {
    const rows = Math.min(block.rows, O - first);
    runRange(module, "nano_unpack", rows, I, (row, count) => ({
      ...{ format, first: (first + row) * I, count: count * I, values: words },
      out: block.address + 4 * row * I,
    }));
    use(first, rows);
  }
}

/** A block for rows of `I` values; call it before taking addresses of outputs: the heap may grow. */
function blockOf(
  module: KernelModule,
  [O, I]: readonly number[],
): { address: number; rows: number } {
  const rows = Math.min(O, Math.max(8, Math.floor(BLOCK_FLOATS / I) & ~7));
  return { address: blockAddress(module, rows * I), rows };
}

/**
 * C (=|+=) A op(W): `nt`, A [M, K] and packed W [N, K]; `nn`, A [M, K] and packed W [K, N]. No
 * scale, bias or activation.
 *
 * @throws {Error} for another kind
 */
export function multiplyPacked(
  l: Launch,
  gemm: GemmFunction,
  { kind, M, N, K, a, b: weight, c, accumulate = false }: LinearProduct & {
    readonly b: PackedWeight;
  },
): void {
  if (kind === "tn") throw new Error("Cannot multiply a packed weight by a transposed matrix");
  const { module } = l;
  const format = formatCode(weight);
  if (kind === "nt" && M <= FEW_ROWS && !accumulate) {
    const at = { x: l.address(a), w: l.address(weight.words), y: l.address(c) };
    runRange(module, "nano_packed_rows", N, K, (first, columns) => ({
      ...{ format, m: M, n: columns, k: K, x: at.x, ldy: N },
      ...{ w: at.w + 2 * packedWords(weight.format, K * first), y: at.y + 4 * first },
    }));
    return;
  }
  const block = blockOf(module, weight.shape);
  const at = { a: l.address(a), c: l.address(c) };
  const shared = { batch: 1, m: M, aRow: K, aColumn: 1, aBatch: 0, bBatch: 0, cRow: N, cBatch: 0 };
  eachBlock(module, format, weight.shape, l.address(weight.words), block, (first, rows) =>
    gemm(
      kind === "nt"
        ? {
          ...{ ...shared, n: rows, k: K, a: at.a, c: at.c + 4 * first, accumulate },
          ...{ b: block.address, bRow: 1, bColumn: K },
        }
        : {
          ...{ ...shared, n: N, k: rows, a: at.a + 4 * first, c: at.c },
          ...{ b: block.address, bRow: N, bColumn: 1, accumulate: accumulate || first > 0 },
        },
    ));
}

/** Rows of a packed table [V, C] at `ids` [n] → [n, C]. No gradient. */
export function gatherPackedRows(
  module: KernelModule,
  table: PackedWeight,
  ids: Int32Array,
): tf.Tensor2D {
  const [V, C] = table.shape;
  const { words } = table;
  checkRowIds(ids, V);
  return launch(module, {
    name: "NanoGatherPackedRows",
    inputs: { words },
    run: (l) => {
      const out = l.output([ids.length, C]);
      l.withIntegers([ids], ([address]) =>
        module.call("nano_gather_packed_rows", {
          ...{ format: formatCode(table), n: ids.length, C },
          ...{ table: l.address(words), ids: address, out: l.address(out) },
        }));
      return [out];
    },
  });
}
