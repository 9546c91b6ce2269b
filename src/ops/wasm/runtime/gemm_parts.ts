/**
 * How a large product is cut for several threads: along the rows or the columns of the result, never
 * along the sum.
 * @module
 */
import type { PartArguments } from "./kernel_module.ts";
import { pieces } from "./pieces.ts";

/** Multiplications below which waking another thread costs more than it saves. */
const THREADED_WORK = 2e6;
const THREADED_BLAS_WORK = 4e6;

/** Rows or columns of a piece: whole tiles, two pieces a thread unless those are too thin. */
function pieceSize(length: number, threads: number, tile: number, thin: number): number {
  const even = Math.ceil(length / threads);
  return Math.ceil(Math.max(Math.min(thin, even), even / 2) / tile) * tile;
}

/**
 * The arguments of `nano_gemm` for each piece of a product; null if it is too small. Our own
 * product gives the same bits in pieces as whole; a BLAS gives similar ones, the same every time.
 *
 * @param product m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate: addresses in
 *   bytes, strides in floats
 * @param blas whether a BLAS runs the pieces
 */
export function cutGemm(
  product: readonly number[],
  threads: number,
  blas: boolean,
): PartArguments<"nano_gemm">[] | null {
  const [m, n, k, a, aRow, aColumn, b, bRow, bColumn, c, cRow, accumulate] = product;
  if (threads < 2 || m * n * k < (blas ? THREADED_BLAS_WORK : THREADED_WORK)) return null;
  const byRows = m >= n;
  const length = byRows ? m : n;
  // 24 rows and 64 columns are whole tiles of the BLAS kernels in use. Of our own the tile is 4 x 8;
  // every piece copies the whole of the other operand into panels, which thin pieces use little.
  const step = blas
    ? pieceSize(length, threads, byRows ? 24 : 64, 0)
    : pieceSize(length, threads, 32, 96);
  // Eight rows or fewer use another kernel, which sums in another order.
  const cuts = pieces(length, step, 16);
  if (cuts.length < 2) return null;
  return cuts.map(([start, size]) => ({
    batch: 1,
    m: byRows ? size : m,
    n: byRows ? n : size,
    k,
    a: (a >>> 0) + (byRows ? start * aRow * 4 : 0),
    a_row: aRow,
    a_col: aColumn,
    a_batch: 0,
    b: (b >>> 0) + (byRows ? 0 : start * bColumn * 4),
    b_row: bRow,
    b_col: bColumn,
    b_batch: 0,
    c: (c >>> 0) + start * (byRows ? cRow : 1) * 4,
    ldc: cRow,
    c_batch: 0,
    accumulate,
  }));
}
