import { assert, assertEquals } from "@std/assert";
import type { HalfFormat } from "../../../src/ops/half/precision.ts";
import { roundHalfOnHost } from "../../../src/ops/half/round_half.ts";

/** Bits of the fraction, the leading one included. */
const DIGITS: Record<HalfFormat, number> = { bf16: 8, fp16: 11 };

/**
 * The same numbers, each one of the format's, but for a few whose float32 sums, taken in another
 * order, fell to the other side of a tie: those are one step off.
 */
export function assertSameRounding(
  format: HalfFormat,
  got: Float32Array,
  want: Float32Array,
  name: string,
  steps: number,
): void {
  assertEquals(got.length, want.length, name);
  assertEquals(got, roundHalfOnHost(got.slice(), format), `${name} has values of the format alone`);
  let off = 0;
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  want.forEach((value, i) => {
    if (Object.is(got[i], value) || got[i] === value) return;
    off++;
    // A step of the value itself, or float32's error of sums that cancel.
    const step = 2 ** (Math.floor(Math.log2(Math.abs(value))) + 1 - DIGITS[format]) * 1.01 * steps;
    const allowed = Math.max(step, largest * 2e-6);
    assert(Math.abs(got[i] - value) <= allowed, `${name}: ${i} is ${got[i]}, want ${value}`);
  });
  assert(
    off <= 1 + 0.02 * steps ** 2 * want.length,
    `${name}: ${off} of ${want.length} are a step off`,
  );
}
