import { assertAlmostEquals, assertEquals } from "@std/assert";
import { philox4x32, RandomStream, shuffledIndices } from "../src/random.ts";

Deno.test("philox4x32() gives the paper's known answers", () => {
  // Random123's kat_vectors for philox4x32-10.
  assertEquals(philox4x32([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  assertEquals(
    philox4x32([ones, ones, ones, ones], [ones, ones]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  );
  assertEquals(
    philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

Deno.test("RandomStream goes on from a position as if it had never stopped", () => {
  const whole = new RandomStream(7, "dropout");
  const words = Array.from({ length: 23 }, () => whole.nextUint32());
  const rest = new RandomStream(7, "dropout", 10);
  assertEquals(Array.from({ length: 13 }, () => rest.nextUint32()), words.slice(10));
});

Deno.test("RandomStream.nextNormal() has mean 0 and variance 1", () => {
  const random = new RandomStream(1, "normal");
  let sum = 0, squares = 0;
  const n = 20_000;
  for (let i = 0; i < n; i++) {
    const x = random.nextNormal();
    sum += x;
    squares += x * x;
  }
  assertAlmostEquals(sum / n, 0, 0.03);
  assertAlmostEquals(squares / n, 1, 0.04);
});

Deno.test("shuffledIndices() is a permutation, the same for the same seed", () => {
  const a = shuffledIndices(100, new RandomStream(3, "shuffle"));
  assertEquals([...a].sort((x, y) => x - y), Array.from({ length: 100 }, (_, i) => i));
  assertEquals(a, shuffledIndices(100, new RandomStream(3, "shuffle")));
});
