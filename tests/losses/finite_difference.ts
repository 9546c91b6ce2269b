import { assert } from "@std/assert";

/**
 * Checks a gradient against central differences of a scalar function.
 *
 * @param tolerance relative to the largest gradient; plus 1e-9
 */
export function assertGradient(
  name: string,
  scalar: (at: Float64Array) => number,
  at: Float64Array,
  gradient: ArrayLike<number>,
  tolerance = 1e-6,
): void {
  const step = 1e-5;
  let largest = 0;
  for (let i = 0; i < at.length; i++) largest = Math.max(largest, Math.abs(gradient[i]));
  for (let i = 0; i < at.length; i++) {
    const above = at.slice(), below = at.slice();
    above[i] += step;
    below[i] -= step;
    const difference = (scalar(above) - scalar(below)) / (2 * step);
    assert(
      Math.abs(difference - gradient[i]) <= tolerance * largest + 1e-9,
      `${name}: element ${i} has gradient ${gradient[i]}, differences give ${difference}`,
    );
  }
}
