import { assert, assertEquals } from "@std/assert";
import { RandomStream } from "../../src/random.ts";
import { likeLengthParts, longestFirst } from "../../src/train/like_lengths.ts";

/** What parts cost: padded rows, and each part. */
function costOf(parts: readonly (readonly number[])[], lengths: readonly number[], cost: number) {
  return parts.reduce(
    (sum, rows) => sum + cost + rows.length * Math.max(...rows.map((row) => lengths[row])),
    0,
  );
}

/** The least that any cut of the sorted lengths costs. */
function leastCost(sorted: readonly number[], cost: number): number {
  if (sorted.length === 0) return 0;
  let least = Infinity;
  for (let first = 1; first <= sorted.length; first++) {
    least = Math.min(
      least,
      cost + first * sorted[first - 1] + leastCost(sorted.slice(first), cost),
    );
  }
  return least;
}

Deno.test("likeLengthParts() has every row once, and no other cut costs less", () => {
  const random = new RandomStream(5, "lengths");
  for (let run = 0; run < 60; run++) {
    const lengths = Array.from({ length: 1 + random.nextInt(9) }, () => 1 + random.nextInt(300));
    for (const cost of [0, 20, 150, 1e6]) {
      const parts = likeLengthParts(lengths, cost);
      assertEquals(parts.flat().toSorted((a, b) => a - b), [...lengths.keys()]);
      const least = leastCost(lengths.toSorted((a, b) => a - b), cost);
      assertEquals(costOf(parts, lengths, cost), least, `${lengths}, ${cost}`);
    }
  }
});

Deno.test("likeLengthParts() gives the longest rows first, and keeps the order within a part", () => {
  assertEquals(likeLengthParts([10, 500, 12, 480, 11], 50), [[1, 3], [0, 2, 4]]);
  assertEquals(likeLengthParts([7, 9, 8], 1e6), [[0, 1, 2]], "a part costs more than it saves");
  assertEquals(likeLengthParts([7, 7, 7], 0), [[0, 1, 2]], "there is nothing to save");
});

Deno.test("longestFirst() sorts by length and keeps the examples of a row together, in order", () => {
  const example = (row: number | null, length: number) => ({ row, length });
  const examples = [
    example(4, 10),
    example(4, 12),
    example(2, 15),
    example(null, 30),
    example(null, 5),
    example(9, 9),
    example(9, 9),
    example(9, 9),
  ];
  const sorted = longestFirst(examples, ({ length }) => length);
  assertEquals(sorted.map(({ row }) => row), [null, 9, 9, 9, 4, 4, 2, null]);
  assertEquals(sorted.map(({ length }) => length), [30, 9, 9, 9, 10, 12, 15, 5]);
  assert(sorted.every((one) => examples.includes(one)));
});
