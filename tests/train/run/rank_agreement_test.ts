import { assertEquals } from "@std/assert";
import { oddRanks } from "../../../src/train/loop/same_weights.ts";
import { rankDifferences } from "../../../src/train/run/rank_agreement.ts";

Deno.test("oddRanks() names the minority, or those that differ from rank 0", () => {
  assertEquals(oddRanks(["a", "a", "a"]), []);
  assertEquals(oddRanks(["a", "b", "b"]), [0]);
  assertEquals(oddRanks(["a", "b"]), [1]);
  assertEquals(oddRanks(["a", "b", "c", "b", "a"]), [1, 2, 3]);
});

Deno.test("rankDifferences() names what differs, on which rank and host", () => {
  const facts = [
    { "the backend": "wasm", "training.seed": "42" },
    { "the backend": "wasm", "training.seed": "42" },
    { "the backend": "webgpu", "training.seed": "42" },
  ];
  assertEquals(rankDifferences(facts, ["one", "two", "three"]), [
    "the backend is webgpu on rank 2 (three), and wasm elsewhere",
  ]);
  assertEquals(rankDifferences(facts.slice(0, 2), ["one", "two"]), []);
});
