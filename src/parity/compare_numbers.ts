/**
 * Compares recorded numbers with computed ones, for parity cases on plain arrays.
 *
 * @module
 */
import type { ParityResult } from "./result.ts";

/** A number as the fixtures' JSON holds it: NaN and the infinities are strings. */
export type RecordedNumber = number | "NaN" | "Infinity" | "-Infinity";

/** The number that a fixture means. */
export function readRecorded(value: RecordedNumber): number {
  return typeof value === "number" ? value : Number(value);
}

/** How far apart two numbers may be: |error| ≤ absolute + relative · |expected|. */
export interface Tolerance {
  absolute?: number;
  relative?: number;
  /** Measure `relative` against the largest |expected| of the array, not each element's own. */
  ofLargest?: boolean;
}

/**
 * Compares two arrays element by element; NaN equals NaN.
 *
 * The reported error and tolerance are those of the worst element: error over allowed error is
 * largest there. Arrays of different lengths fail with an infinite error.
 */
export function compareNumbers(
  name: string,
  quantity: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
): ParityResult {
  if (actual.length !== expected.length) {
    return {
      case: name,
      quantity,
      error: Infinity,
      tolerance: 0,
      ok: false,
      detail: `got ${actual.length} numbers, want ${expected.length}`,
    };
  }
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    if (Number.isFinite(expected[i])) largest = Math.max(largest, Math.abs(expected[i]));
  }
  let worst: ParityResult | null = null, worstShare = -1;
  for (let i = 0; i < expected.length; i++) {
    const scale = tolerance.ofLargest ? largest : Math.abs(expected[i]);
    const scaled = Number.isFinite(scale) ? scale : 0;
    const allowed = (tolerance.absolute ?? 0) + (tolerance.relative ?? 0) * scaled;
    const same = Object.is(actual[i], expected[i]) || actual[i] === expected[i];
    const difference = same ? 0 : Math.abs(actual[i] - expected[i]);
    const error = Number.isNaN(difference) ? Infinity : difference;
    const share = error === 0 ? 0 : error / allowed;
    if (share <= worstShare) continue;
    worstShare = share;
    worst = { case: name, quantity, error, tolerance: allowed, ok: error <= allowed };
    if (!worst.ok) worst.detail = `element ${i}: got ${actual[i]}, want ${expected[i]}`;
  }
  return worst ?? { case: name, quantity, error: 0, tolerance: 0, ok: true };
}
