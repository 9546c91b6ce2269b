import { assertEquals, assertThrows } from "@std/assert";
import {
  spreadSequenceGradient,
  sumSequenceLogProbs,
} from "../../src/losses/sequence_log_probs.ts";

Deno.test("sumSequenceLogProbs() counts unmasked tokens alone, and its gradient goes back to them", () => {
  const mask = [0, 1, 1, 1, 0, 0];
  assertEquals(sumSequenceLogProbs([NaN, -1, -2, -4, 7, 7], mask, 2), {
    logProbs: Float64Array.of(-3, -4),
    lengths: Float64Array.of(2, 1),
  });
  assertEquals([...spreadSequenceGradient([5, 6], mask)], [0, 5, 5, 6, 0, 0]);
  assertThrows(() => sumSequenceLogProbs([1, 2, 3], [1, 1, 1], 2), RangeError, "for 2 rows");
});
