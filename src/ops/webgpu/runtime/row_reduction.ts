/**
 * Reductions over rows. On hardware a workgroup takes a row; on a software adapter a lane takes one,
 * because barriers are expensive there.
 * @module
 */
import { grid, MAX_ITERATIONS } from "./program.ts";

/** How rows are distributed over workgroups. */
export interface RowReduction {
  readonly workgroup: number;
  /** Functions `total(v, lane)` and `largest(v, lane)`, over the lanes of a row. */
  readonly declarations: string;
  /** Defines `row`, and `first` and `step` for a loop over the row's columns. Needs `p.R`. */
  readonly begin: string;
  /** A condition: true for the lane that writes the row's results. */
  readonly writes: string;
  /** Workgroups for `rows` rows. */
  groups(rows: number): [number, number, number];
}

const HARDWARE_LANES = 64;

/** WGSL of `total(v, lane)` and `largest(v, lane)` over a workgroup of `lanes` lanes, a power of two. */
export function reductions(lanes: number): string {
  const reduction = (name: string, combine: string): string => `
fn ${name}(v: f32, lane: u32) -> f32 {
  workgroupBarrier();
  partial[lane] = v;
  workgroupBarrier();
  for (var s = ${lanes / 2}u; s > 0u; s >>= 1u) {
    if (lane < s) { partial[lane] = ${combine}; }
    workgroupBarrier();
  }
  return partial[0];
}`;
  return `var<workgroup> partial: array<f32, ${lanes}>;
${reduction("total", "partial[lane] + partial[lane + s]")}
${reduction("largest", "max(partial[lane], partial[lane + s])")}`;
}

const HARDWARE: RowReduction = {
  workgroup: HARDWARE_LANES,
  declarations: reductions(HARDWARE_LANES),
  begin: `
      let row = group.y * groups.x + group.x;
      if (row >= p.R) { return; }
      let first = lane;
      let step = ${HARDWARE_LANES}u;`,
  writes: "lane == 0u",
  groups: (rows) => grid(rows, 1),
};

const FALLBACK: RowReduction = {
  workgroup: 8,
  declarations: `
fn total(v: f32, lane: u32) -> f32 { return v; }
fn largest(v: f32, lane: u32) -> f32 { return v; }`,
  begin: `
      let row = index;
      if (row >= p.R) { return; }
      let first = 0u;
      let step = 1u;`,
  writes: "true",
  groups: (rows) => grid(rows, 8),
};

/** The reduction for this kind of adapter and rows with that many columns. */
export function rowReduction(isFallback: boolean, columns: number): RowReduction {
  // Two loops over a row, see MAX_ITERATIONS.
  return isFallback && columns <= MAX_ITERATIONS / 2 ? FALLBACK : HARDWARE;
}
