import { assertEquals, assertRejects } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import type { VqaExample } from "../../../src/data/rows/formats.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { ALONE, type Ranks } from "../../../src/distributed/ranks.ts";
import type { PlacedExample } from "../../../src/train/batches/example_stream.ts";
import { MicroBatches } from "../../../src/train/batches/micro_batches.ts";
import { localRanks } from "../../distributed/local_ranks.ts";

/** What the steps of one rank are: the rows by micro-batch, and the place after each step. */
async function steps(ranks: Ranks, bad: readonly number[], dropLast: boolean) {
  const rows = Array.from({ length: 37 }, (_, i) => ({
    texts: [{ user: String(i), assistant: "x" }],
  }));
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  const asked: number[] = [];
  const make = ({ example }: PlacedExample<VqaExample>): Promise<number> => {
    const number = Number(example.turns[0].user);
    asked.push(number);
    return bad.includes(number)
      ? Promise.reject(new RowSkipped(`${number} is bad`))
      : Promise.resolve(number);
  };
  const sizes = { batchSize: 2, gradientAccumulationSteps: 4, groupByLength: false, seed: 3 };
  const batches = new MicroBatches(dataset, make, { ...sizes, dropLast }, ranks);
  const found = [];
  for (let step = 0; step < 11; step++) {
    const { batches: own, numbers, count, epochEnded } = await batches.next(step < 10);
    const { cursor, epoch } = batches;
    const place = { count, epochEnded, cursor, epoch, skipped: dataset.skipped.rows.length };
    found.push({ own: new Map(numbers.map((number, k) => [number, own[k]])), place });
  }
  return { found, asked };
}

Deno.test("ranks share out the rows that one process takes, and skip the same", async () => {
  for (const [bad, dropLast] of [[[], false], [[3, 11, 12], false], [[0, 36], true]] as const) {
    const one = await steps(ALONE, bad, dropLast);
    for (const size of [2, 3, 4]) {
      const shares = await Promise.all(
        localRanks(size).map((ranks) => steps(ranks, bad, dropLast)),
      );
      one.found.forEach(({ own, place }, step) => {
        for (const { found } of shares) assertEquals(found[step].place, place);
        const joined = shares.flatMap(({ found }) => [...found[step].own]);
        assertEquals(new Map(joined.sort(([a], [b]) => a - b)), own);
      });
      // A rank makes its own rows; after a bad row, some that it turns out to compute.
      if (bad.length === 0) {
        const asked = shares.map(({ asked }) => asked.length).reduce((sum, count) => sum + count);
        assertEquals(asked, one.asked.length);
      }
    }
  }
});

Deno.test("too many bad rows stop every rank, with the same reason", async () => {
  const bad = [1, 2, 3, 4, 5];
  const errors = await Promise.all(
    localRanks(2).map((ranks) => assertRejects(() => steps(ranks, bad, false), DataError)),
  );
  assertEquals(errors[0].message, errors[1].message);
});
