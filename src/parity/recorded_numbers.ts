/**
 * Reads recorded numbers and compares records of them.
 *
 * @module
 */
import {
  compareNumbers,
  readRecorded,
  type RecordedNumber,
  type Tolerance,
} from "./compare_numbers.ts";
import type { ParityResult } from "./result.ts";

/** Relative 1e-6; the absolute part is for numbers that are zero but for rounding. */
export const RECORDED: Tolerance = { relative: 1e-6, absolute: 1e-11 };
/** NanoVLM-Lab computes metrics in float32. */
export const FLOAT32_METRIC: Tolerance = { relative: 1e-6, absolute: 1e-7 };

/** A recorded row. */
export type Numbers = RecordedNumber[];
/** Recorded rows. */
export type Matrix = RecordedNumber[][];

/** A parsed file of the fixtures. */
export async function readJson<T>(directory: string, name: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(`${directory}/${name}`));
}

/** A recorded matrix, row-major. */
export function flat(matrix: Matrix): Float64Array {
  return Float64Array.from(matrix.flat(), readRecorded);
}

/** Compares the numbers that a record expects, by name; one that is missing fails. */
export function compareRecord(
  name: string,
  quantity: string,
  actual: Record<string, number>,
  expected: Record<string, RecordedNumber>,
  tolerance: Tolerance,
): ParityResult[] {
  return Object.entries(expected).map(([key, value]) =>
    compareNumbers(
      name,
      `${quantity} ${key}`,
      key in actual ? [actual[key]] : [],
      [readRecorded(value)],
      tolerance,
    )
  );
}
