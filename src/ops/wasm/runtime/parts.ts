/**
 * Cutting loops into calls for several threads.
 * @module
 */
import type { KernelArguments, KernelModule, KernelName } from "./kernel_module.ts";
import { pieces } from "./pieces.ts";

/** Pieces for each thread: more than one balances the work if the system runs threads unevenly. */
const PIECES_EACH = 2;

/** Values below which waking another thread costs more than it saves. */
const THREADED_VALUES = 1 << 16;

/**
 * Runs a kernel over a range whose elements do not depend on each other: in one call, or in one for
 * each piece if that is faster.
 *
 * @param length elements of the range
 * @param width values of an element
 * @param named the arguments for `size` elements from `start` on
 */
export function runRange<Name extends KernelName>(
  module: KernelModule,
  kernel: Name,
  length: number,
  width: number,
  named: (start: number, size: number) => KernelArguments<Name>,
): void {
  if (module.threads === 1 || length * width < THREADED_VALUES) {
    module.call(kernel, named(0, length));
    return;
  }
  // A multiple of four: whole vectors if elements are single values.
  const step = Math.ceil(length / (PIECES_EACH * module.threads) / 4) * 4;
  module.runParts(kernel, pieces(length, step).map(([start, size]) => named(start, size)));
}

/** Rows and key/value heads of an attention, for one call. */
export interface AttentionPart {
  readonly row: number;
  readonly rows: number;
  readonly head: number;
  readonly heads: number;
}

/**
 * Cuts B rows with K key/value heads each: by rows if there are enough, else by heads too.
 *
 * @param offsets [B + 1] where rows begin; null: all are equally long
 */
export function attentionParts(
  B: number,
  K: number,
  threads: number,
  offsets: Int32Array | null = null,
): AttentionPart[] {
  const wanted = threads === 1 ? 1 : PIECES_EACH * threads;
  if (B >= wanted) {
    const runs = offsets === null ? pieces(B, Math.ceil(B / wanted)) : evenRuns(offsets, wanted);
    return runs.map(([row, rows]) => ({ row, rows, head: 0, heads: K }));
  }
  const heads = pieces(K, Math.ceil(B * K / wanted));
  return Array.from({ length: B }, (_, row) => row).flatMap((row) =>
    heads.map(([head, heads]) => ({ row, rows: 1, head, heads }))
  );
}

/** At most `wanted` runs of rows, with about the same number of tokens each. */
function evenRuns(offsets: Int32Array, wanted: number): [row: number, rows: number][] {
  const rows = offsets.length - 1, tokens = offsets[rows];
  const runs: [row: number, rows: number][] = [];
  for (let row = 0; row < rows;) {
    const left = wanted - runs.length;
    const end = offsets[row] + (tokens - offsets[row]) / left;
    let next = row + 1;
    while (next < rows && (offsets[next] + offsets[next + 1]) / 2 <= end) next++;
    runs.push([row, left === 1 ? rows - row : next - row]);
    row += runs[runs.length - 1][1];
  }
  return runs;
}
