import { assert, assertEquals } from "@std/assert";
import { sumInBfloat16 } from "../../src/distributed/bfloat16_sum.ts";
import { RandomStream } from "../../src/random.ts";
import { localRanks } from "./local_ranks.ts";

/** Values of a rank, over many magnitudes. */
function valuesOf(rank: number, count: number): Float32Array {
  const random = new RandomStream(rank, "values");
  return Float32Array.from(
    { length: count },
    () => (random.nextFloat() - 0.5) * 10 ** (8 * random.nextFloat() - 6),
  );
}

for (const size of [1, 2, 3, 5]) {
  for (const count of [1, 4, 63, 1000]) {
    Deno.test(`sumInBfloat16() of ${count} values on ${size} ranks is off by 2^-7 of their size at most`, async () => {
      const inputs = Array.from({ length: size }, (_, rank) => valuesOf(rank, count));
      const sums = await Promise.all(
        localRanks(size).map(async (ranks) => {
          const values = inputs[ranks.rank].slice();
          await sumInBfloat16(ranks, values, "the values");
          return values;
        }),
      );
      for (const other of sums) assertEquals(other, sums[0]);
      for (let i = 0; i < count; i++) {
        const exact = inputs.reduce((sum, values) => sum + values[i], 0);
        const magnitude = inputs.reduce((sum, values) => sum + Math.abs(values[i]), 0);
        assert(Math.abs(sums[0][i] - exact) <= 1.01 * 2 ** -7 * magnitude);
      }
      if (size > 1) {
        // The words of the result are bfloat16: the lower half of each is 0.
        const words = new Uint32Array(sums[0].buffer);
        assert(words.every((word) => (word & 0xffff) === 0));
      } else assertEquals(sums[0], inputs[0]);
    });
  }
}

Deno.test("sumInBfloat16() keeps what is not finite", async () => {
  const sums = await Promise.all(
    localRanks(2).map(async (ranks) => {
      const values = Float32Array.of(
        ranks.rank === 0 ? NaN : 1,
        ranks.rank === 1 ? Infinity : 1,
        1,
      );
      await sumInBfloat16(ranks, values, "the values");
      return Array.from(values);
    }),
  );
  assertEquals(sums, [[NaN, Infinity, 2], [NaN, Infinity, 2]]);
});
