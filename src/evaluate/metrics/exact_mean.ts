/**
 * A mean without rounding errors on the way, as Python's `statistics.mean` computes it.
 *
 * @module
 */

/** Every number from 2^-54 to 1 with 53 bits is a whole number of these. */
const SCALE = 2n ** 106n;

/** A finite number as a whole number of 2^-106. */
function scaled(value: number): bigint {
  // 2^53 · 2^53: both products are exact.
  return BigInt(value * 2 ** 53 * 2 ** 53);
}

/**
 * Mean of values, rounded once.
 *
 * @param values between 2^-53 and 2^53, or 0; at least one
 */
export function exactMean(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + scaled(value), 0n);
  const divisor = SCALE * BigInt(values.length);
  const shift = 200n;
  const quotient = (sum << shift) / divisor;
  const remainder = (sum << shift) % divisor;
  // A last bit for the rest: Number() then rounds as if all digits were there.
  return Number((quotient << 1n) | (remainder === 0n ? 0n : 1n)) / 2 ** 201;
}
