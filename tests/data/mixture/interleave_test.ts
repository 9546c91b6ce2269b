import { assert, assertEquals, assertThrows } from "@std/assert";
import { createHash } from "node:crypto";
import { DataError } from "../../../src/data/data_error.ts";
import {
  type InterleaveOptions,
  interleavePlan,
  type StoppingStrategy,
} from "../../../src/data/mixture/interleave.ts";

/** Rows by name: a0, a1, … of the first set, b0, … of the second one. */
function names(lengths: readonly number[], options: InterleaveOptions): string[] {
  const plan = interleavePlan(lengths, options);
  return [...plan.sets].map((set, i) => "abc"[set] + plan.draws[i] % lengths[set]);
}

const options = (
  probabilities: number[] | null,
  stoppingStrategy: StoppingStrategy,
  seed = 42,
) => ({ probabilities, stoppingStrategy, seed });

// datasets 5.2: interleave_datasets([a, b, c], probabilities, seed=42, stopping_strategy) of 3, 7
// and 20 rows.
const recorded: [number[] | null, StoppingStrategy, string][] = [
  [[0.5, 0.3, 0.2], "first_exhausted", "b0,a0,c0,b1,a1,c1,b2,b3,a2"],
  [
    [0.5, 0.3, 0.2],
    "all_exhausted_without_replacement",
    "b0,a0,c0,b1,a1,c1,b2,b3,a2,c2,b4,c3,b5,c4,b6,c5,c6,c7,c8,c9,c10,c11,c12,c13,c14,c15,c16,c17,c18,c19",
  ],
  [null, "first_exhausted", "a0,b0,c0,a1,b1,c1,a2,b2,c2"],
  [
    null,
    "all_exhausted",
    "a0,b0,c0,a1,b1,c1,a2,b2,c2,a0,b3,c3,a1,b4,c4,a2,b5,c5,a0,b6,c6,a1,b0,c7,a2,b1,c8,a0,b2,c9,a1," +
    "b3,c10,a2,b4,c11,a0,b5,c12,a1,b6,c13,a2,b0,c14,a0,b1,c15,a1,b2,c16,a2,b3,c17,a0,b4,c18,a1,b5,c19",
  ],
  [
    null,
    "all_exhausted_without_replacement",
    "a0,b0,c0,a1,b1,c1,a2,b2,c2,b3,c3,b4,c4,b5,c5,b6,c6,c7,c8,c9,c10,c11,c12,c13,c14,c15,c16,c17,c18,c19",
  ],
];

for (const [probabilities, strategy, rows] of recorded) {
  const how = probabilities === null ? "in turn" : `by ${probabilities}`;
  Deno.test(`interleavePlan() ${how}, ${strategy}: the rows of datasets.interleave_datasets`, () => {
    assertEquals(names([3, 7, 20], options(probabilities, strategy)).join(","), rows);
  });
}

// The same with 4,000, 9,000 and 9,000 rows, seed 7: SHA-256 of the rows, a line each.
const hashes: [StoppingStrategy, number, string][] = [
  ["first_exhausted", 17872, "2e5aa71fb764ff16e39c3d6c282e42325cad9925feb3b6ef4aae27dfe33c83cf"],
  ["all_exhausted", 30068, "2ef1d15706a0806e6dafc67657056095305bdc7cefdbaeb1dd9813c3c7e49cec"],
];

for (const [strategy, count, hash] of hashes) {
  Deno.test(`${count} rows of a large mixture, ${strategy}, are those of datasets`, () => {
    const rows = names([4000, 9000, 9000], options([0.2, 0.3, 0.5], strategy, 7));
    assertEquals(rows.length, count);
    assertEquals(createHash("sha256").update(rows.join("\n")).digest("hex"), hash);
  });
}

Deno.test("the share of each set in 10,000 drawn rows is within sampling error", () => {
  const probabilities = [0.1, 0.25, 0.65];
  for (const seed of [0, 1, 42]) {
    const plan = interleavePlan([50_000, 50_000, 50_000], {
      ...options(probabilities, "first_exhausted"),
      seed,
    });
    const drawn = plan.sets.subarray(0, 10_000);
    probabilities.forEach((p, set) => {
      const share = drawn.filter((one) => one === set).length / drawn.length;
      const error = Math.sqrt(p * (1 - p) / drawn.length);
      assert(Math.abs(share - p) < 4 * error, `seed ${seed}: ${share}, want ${p} ± ${4 * error}`);
    });
  }
});

Deno.test("interleavePlan() refuses a mixture that would hardly end", () => {
  assertThrows(
    () => interleavePlan([10, 2_000_000], options([0.99, 0.01], "all_exhausted")),
    DataError,
    "use first_exhausted",
  );
});
