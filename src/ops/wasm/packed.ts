/**
 * Frozen weights in 16 bits on the wasm heap. A product widens the weight, or a large block of it,
 * into scratch and multiplies it there; for a handful of rows it is widened in registers.
 * @module
 */
import type * as tf from "@tensorflow/tfjs";
import { type PackedFormat, PackedWeight, type Weight } from "../packed_weight.ts";
import type { GemmFunction } from "./gemm.ts";
import { launch } from "./launch.ts";
import { columnSum } from "./linear.ts";
import type { KernelModule } from "./module.ts";

// N rows, I input features, O output features, V rows of a table, C channels

/** `FORMAT_…` of kernels/src/packed.h. */
const FORMATS: Record<PackedFormat, number> = { BF16: 1, F16: 2 };

/** How kernels are told of a weight's format; 0 is float32. */
export function formatCode(weight: Weight): number {
  return weight instanceof PackedWeight ? FORMATS[weight.format] : 0;
}

/** Most rows of x that are multiplied with W widened in registers. */
const FEW_ROWS = 4;

/**
 * Floats of a widened block, at most: 16 MiB, which is all of most weights. Blocks that stay in a
 * core's cache make the BLAS up to 1.5 times slower, which packs its left side anew for each.
 */
const BLOCK_FLOATS = 2 ** 22;

const blocks = new WeakMap<KernelModule, { address: number; floats: number }>();

/** Address of the block, kept for the next product. */
function blockAddress(module: KernelModule, floats: number): number {
  const held = blocks.get(module);
  if (held !== undefined && held.floats >= floats) return held.address;
  if (held !== undefined) module.heap.free(held.address);
  blocks.delete(module);
  const address = module.heap.malloc(floats * 4);
  blocks.set(module, { address, floats });
  return address;
}

/** Widens W [O, I] a block of rows at a time: `use` gets the first row, how many, and where. */
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
    module.kernel("nano_unpack")(format, first * I, rows * I, words, block.address);
    use(first, rows);
  }
}

/** A block for rows of `I`; call before addresses of outputs are taken. */
function blockOf(
  module: KernelModule,
  [O, I]: readonly number[],
): { address: number; rows: number } {
  const rows = Math.min(O, Math.max(8, Math.floor(BLOCK_FLOATS / I) & ~7));
  return { address: blockAddress(module, rows * I), rows };
}

/** dx = dy W: [..., O] and packed [O, I] → [..., I]. Written. */
function packedLinearDx(
  module: KernelModule,
  gemm: GemmFunction,
  dy: tf.Tensor,
  weight: PackedWeight,
): tf.Tensor {
  const [O, I] = weight.shape;
  return launch(module, {
    name: "NanoPackedLinearDx",
    inputs: { dy, words: weight.words },
    run: (l) => {
      const out = l.output([...dy.shape.slice(0, -1), I]);
      const block = blockOf(module, weight.shape);
      eachBlock(
        module,
        formatCode(weight),
        weight.shape,
        l.address(weight.words),
        block,
        (first, rows) =>
          // deno-fmt-ignore
          gemm({
            batch: 1, m: dy.size / O, n: I, k: rows,
            a: l.address(dy) + 4 * first, aRow: O, aColumn: 1, aBatch: 0,
            b: block.address, bRow: I, bColumn: 1, bBatch: 0,
            c: l.address(out), cRow: I, cBatch: 0, accumulate: first > 0,
          }),
      );
      return [out];
    },
  });
}

/** y = x Wᵀ + b: x [..., I], packed weight [O, I], bias [O] → [..., O]. */
export function packedLinear(
  module: KernelModule,
  gemm: GemmFunction,
  x: tf.Tensor,
  weight: PackedWeight,
  bias?: tf.Tensor,
): tf.Tensor {
  const [O, I] = weight.shape;
  if (x.shape[x.rank - 1] !== I) {
    throw new Error(
      `Cannot run a linear layer [${weight.shape}] on [${x.shape}]: the last dim must be ${I}.`,
    );
  }
  const N = x.size / I;
  const format = formatCode(weight);
  const { words } = weight;
  return launch(module, {
    name: bias === undefined ? "NanoPackedLinear" : "NanoPackedLinearBias",
    inputs: bias === undefined ? { x, words } : { x, words, bias },
    run: (l) => {
      const out = l.output([...x.shape.slice(0, -1), O]);
      if (N <= FEW_ROWS) {
        // deno-fmt-ignore
        module.kernel("nano_packed_rows")(
          format, N, O, I, l.address(x), l.address(words), l.address(out),
        );
      } else {
        const block = blockOf(module, weight.shape);
        eachBlock(module, format, weight.shape, l.address(words), block, (first, rows) =>
          // deno-fmt-ignore
          gemm({
            batch: 1, m: N, n: rows, k: I,
            a: l.address(x), aRow: I, aColumn: 1, aBatch: 0,
            b: block.address, bRow: 1, bColumn: I, bBatch: 0,
            c: l.address(out) + 4 * first, cRow: O, cBatch: 0, accumulate: false,
          }));
      }
      if (bias !== undefined) {
        module.kernel("nano_add_bias")(N, O, l.address(out), l.address(bias));
      }
      return [out];
    },
    gradient: (dy) => ({
      x: () => packedLinearDx(module, gemm, dy, weight),
      bias: () => columnSum(module, dy),
    }),
  });
}

/** A packed weight as float32. No gradient. */
export function unpack(module: KernelModule, weight: PackedWeight): tf.Tensor {
  const { words } = weight;
  return launch(module, {
    name: "NanoUnpack",
    inputs: { words },
    run: (l) => {
      const out = l.output(weight.shape);
      // deno-fmt-ignore
      module.kernel("nano_unpack")(
        formatCode(weight), 0, weight.size, l.address(words), l.address(out),
      );
      return [out];
    },
  });
}

/** Rows of a packed table [V, C] at `ids` [n] → [n, C]. No gradient. */
export function gatherPackedRows(
  module: KernelModule,
  table: PackedWeight,
  ids: Int32Array,
): tf.Tensor2D {
  const [V, C] = table.shape;
  const { words } = table;
  for (const id of ids) {
    if (id < 0 || id >= V) throw new RangeError(`Cannot take row ${id}: the table has ${V} rows.`);
  }
  return launch(module, {
    name: "NanoGatherPackedRows",
    inputs: { words },
    run: (l) => {
      const out = l.output([ids.length, C]);
      l.withIntegers([ids], ([address]) =>
        // deno-fmt-ignore
        module.kernel("nano_gather_packed_rows")(
          formatCode(table), ids.length, C, l.address(words), address, l.address(out),
        ));
      return [out];
    },
  });
}
