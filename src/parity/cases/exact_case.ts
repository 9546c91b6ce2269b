/**
 * Parity cases that must be equal, and reading of optional fixtures.
 *
 * @module
 */
import type { ParityResult } from "../result.ts";

/** Things that can be compared exactly. */
export type Exact = string | number | null | ArrayLike<string | number | null>;

function isList(value: Exact): value is ArrayLike<string | number | null> {
  return typeof value === "object" && value !== null;
}

/** The first difference between two values, or null. */
function firstDifference(actual: Exact, expected: Exact): string | null {
  if (!isList(actual) || !isList(expected)) {
    return actual === expected
      ? null
      : `got ${JSON.stringify(actual)}, want ${JSON.stringify(expected)}`;
  }
  const common = Math.min(actual.length, expected.length);
  for (let i = 0; i < common; i++) {
    if (actual[i] === expected[i]) continue;
    return `element ${i}: got ${JSON.stringify(actual[i])}, want ${JSON.stringify(expected[i])}`;
  }
  if (actual.length === expected.length) return null;
  return `got ${actual.length} elements, want ${expected.length}`;
}

/** Compares two values that have to be equal: error 0 if they are, else 1, tolerance 0. */
export function exactCase(
  name: string,
  quantity: string,
  actual: Exact,
  expected: Exact,
): ParityResult {
  const difference = firstDifference(actual, expected);
  const result: ParityResult = {
    case: name,
    quantity,
    error: difference === null ? 0 : 1,
    tolerance: 0,
    ok: difference === null,
  };
  if (difference !== null) result.detail = difference;
  return result;
}

/**
 * Reads a JSON file of a fixtures folder, whose form the fixtures' README fixes.
 *
 * @returns null if there is no such file
 */
export async function readFixtureJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
