import { assert, assertEquals } from "@std/assert";
import { ExactMatchTally } from "../../src/evaluate/exact_match.ts";
import { isExactMatch } from "../../src/evaluate/metrics/exact_match.ts";

Deno.test("isExactMatch() trims and folds case, and nothing else", () => {
  assert(isExactMatch("  Yes \n", "yes"));
  assert(isExactMatch("STRASSE", "Straße"));
  assert(isExactMatch("ÉTÉ", "été"));
  assert(!isExactMatch("yes.", "yes"));
  assert(!isExactMatch("dark  red", "dark red"));
  assert(!isExactMatch("", "no"));
});

Deno.test("isExactMatch() composes accents, as the built-in reward does", () => {
  assert(isExactMatch("cafe\u0301", "Café"));
  assert(!isExactMatch("cafe", "café"));
  assert(isExactMatch("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"));
});

Deno.test("ExactMatchTally counts overall and by type; answers without a type count overall", () => {
  const tally = new ExactMatchTally();
  assertEquals(tally.overall, { questions: 0, exactMatch: 0 });
  assert(tally.add("red", "Red", "color"));
  assert(!tally.add("blue", "red", "color"));
  assert(tally.add("3", "3", "count"));
  assert(!tally.add("left", "right"));
  assertEquals(tally.overall, { questions: 4, exactMatch: 0.5 });
  assertEquals([...tally.byType], [
    ["color", { questions: 2, exactMatch: 0.5 }],
    ["count", { questions: 1, exactMatch: 1 }],
  ]);
});
