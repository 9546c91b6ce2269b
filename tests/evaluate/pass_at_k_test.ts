import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { passAtK, passCounts } from "../../src/evaluate/pass_at_k.ts";
import { SpreadTally } from "../../src/evaluate/reward_spread.ts";

/** The share of all k-subsets of n answers, c of them right, that hold a right one. */
function byCounting(n: number, c: number, k: number): number {
  let hits = 0, all = 0;
  for (let subset = 0; subset < 2 ** n; subset++) {
    const members = Array.from({ length: n }, (_, i) => i).filter((i) => (subset >> i) & 1);
    if (members.length !== k) continue;
    all++;
    if (members.some((i) => i < c)) hits++;
  }
  return hits / all;
}

Deno.test("passAtK() is the share of all choices of k answers with a right one", () => {
  for (let n = 1; n <= 7; n++) {
    for (let c = 0; c <= n; c++) {
      for (let k = 1; k <= n; k++) {
        assertAlmostEquals(passAtK(n, c, k), byCounting(n, c, k), 1e-12, `${n} ${c} ${k}`);
      }
    }
  }
  // 1 - comb(900, 100) / comb(1000, 100) in exact integers
  assertAlmostEquals(passAtK(1000, 100, 100), 0.9999853031619732, 1e-12);
  assertThrows(() => passAtK(4, 1, 5), RangeError, "pass@5");
  assertThrows(() => passAtK(4, 5, 1), RangeError);
  assertThrows(() => passAtK(4, 1.5, 1), RangeError);
  assertEquals([1, 2, 3, 8, 10].map(passCounts), [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [
    ...[1, 2, 4, 8, 10],
  ]]);
});

Deno.test("SpreadTally gives pass@k of functions that say right or wrong, and the spread of the rewards", () => {
  const tally = new SpreadTally(2, ["exact", "length"]);
  tally.add([1, 0, 2, 2], [
    { name: "exact", scores: [1, 0, 1, 1] },
    { name: "length", scores: [0.5, 0, 1, 1] },
  ]);
  tally.add([null, 3], [
    { name: "exact", scores: [0, 0] },
    { name: "length", scores: [null, 1] },
  ]);
  const { rewardStd, withoutSpread, passAt } = tally.result;
  assertEquals([...passAt.keys()], ["exact"], "length has other scores than 0 and 1");
  assertEquals([...passAt.get("exact")!], [[1, 0.5], [2, 2 / 3]]);
  assertAlmostEquals(rewardStd, Math.SQRT1_2 / 2, 1e-12);
  assertEquals(withoutSpread, 0.5);
});
