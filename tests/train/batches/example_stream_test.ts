import { assert, assertEquals } from "@std/assert";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { RandomStream } from "../../../src/random.ts";
import {
  ExampleStream,
  lengthGroupedByRow,
  shuffledByRow,
} from "../../../src/train/batches/example_stream.ts";

const rows: Row[] = Array.from({ length: 10 }, (_, i) => ({
  texts: Array.from({ length: 1 + i % 3 }, (_, turn) => ({ user: `${i}.${turn}`, assistant: "x" })),
}));
const dataset = await datasetFromRows(rows, { format: "vqa", splitTurns: true });
const whole = await datasetFromRows(rows, { format: "vqa" });

/** The questions of one epoch. */
async function epoch(stream: ExampleStream<Awaited<ReturnType<typeof dataset.get>>>) {
  const questions: string[] = [];
  for (let next = await stream.next(); next !== null; next = await stream.next()) {
    questions.push(next.example.turns[0].user);
  }
  return questions;
}

Deno.test("each epoch has every example once, in an order that seed and epoch alone decide", async () => {
  const stream = new ExampleStream(whole, 42);
  const first = await epoch(stream), second = await epoch(stream);
  assertEquals(first.toSorted(), Array.from({ length: 10 }, (_, i) => `${i}.0`).toSorted());
  assertEquals(second.toSorted(), first.toSorted());
  assert(first.join() !== second.join());
  const again = new ExampleStream(whole, 42);
  assertEquals([await epoch(again), await epoch(again)], [first, second]);
  assert((await epoch(new ExampleStream(whole, 43))).join() !== first.join());
});

Deno.test("with split_turns the turns of a row stay together and in order", async () => {
  const questions = await epoch(new ExampleStream(dataset, 7));
  assertEquals(questions.length, dataset.length);
  const order = [...new Set(questions.map((question) => question.split(".")[0]))];
  assertEquals(order.length, 10);
  assertEquals(
    questions,
    order.flatMap((row) =>
      Array.from({ length: 1 + Number(row) % 3 }, (_, turn) => `${row}.${turn}`)
    ),
  );
  assert(order.join() !== order.toSorted().join());
});

Deno.test("shuffledByRow() shuffles rows, not what is in them", () => {
  const order = shuffledByRow([5, 5, 2, 2, 2, 9], new RandomStream(1, "epoch 0"));
  assertEquals([...order].toSorted(), [0, 1, 2, 3, 4, 5]);
  const at = (example: number) => order.indexOf(example);
  assertEquals([at(1) - at(0), at(3) - at(2), at(4) - at(3)], [1, 1, 1]);
});

Deno.test("a stream goes on from its cursor, within an epoch and between two", async () => {
  for (const taken of [0, 3, 10, 13, 20]) {
    const stream = new ExampleStream(whole, 42);
    const take = async (from: typeof stream, count: number) => {
      const questions: string[] = [];
      while (questions.length < count) {
        const next = await from.next();
        if (next !== null) questions.push(next.example.turns[0].user);
      }
      return questions;
    };
    await take(stream, taken);
    const cursor = JSON.parse(JSON.stringify(stream.cursor));
    const expected = await take(stream, 12);
    const resumed = new ExampleStream(whole, 42);
    resumed.seek(cursor);
    assertEquals(await take(resumed, 12), expected, `after ${taken}`);
  }
});

Deno.test("an example tells its row and its place", async () => {
  const stream = new ExampleStream(dataset, 1);
  const placed = await stream.next();
  assert(placed !== null && placed.row !== null);
  assertEquals(placed.example.turns[0].user.split(".")[0], String(placed.row));
  assert((await placed.place()).includes(String(placed.row)), await placed.place());
});

Deno.test("lengthGroupedByRow() sorts rows within mega-batches, the longest of all first", () => {
  const random = new RandomStream(8, "lengths");
  // 160 rows of one example, four of them a step: mega-batches of min(160 / (4 * 4), 50) = 10 steps.
  const lengths = Array.from({ length: 160 }, () => 1 + random.nextInt(1000));
  const rows = lengths.map((_, i) => i);
  const order = lengthGroupedByRow(rows, lengths, 4, new RandomStream(1, "epoch 0"));
  assertEquals([...order].toSorted((a, b) => a - b), rows);
  const sorted = Array.from(order, (example) => lengths[example]);
  assertEquals(sorted[0], Math.max(...lengths));
  const falls = (values: number[]) => values.every((value, i) => i === 0 || value <= values[i - 1]);
  let moved = 0;
  for (let from = 0; from < 160; from += 40) {
    // The longest of all changed places with the first of the first mega-batch.
    if (!falls(sorted.slice(from, from + 40))) moved++;
    assert(falls(sorted.slice(from + 1, from + 40)), `mega-batch from ${from}`);
  }
  assert(moved <= 1);
  assert(!falls(sorted), "all in one is no longer random");
  // The same rows meet in a mega-batch as in the shuffle that it starts from.
  const shuffle = shuffledByRow(rows, new RandomStream(1, "epoch 0"));
  const members = (from: number) => new Set([...shuffle].slice(from, from + 40));
  assertEquals(
    [...order].slice(41, 80).filter((example) => !members(40).has(example)).length <= 1,
    true,
  );
});

Deno.test("lengthGroupedByRow() keeps the examples of a row together and counts them all", () => {
  const rows = [0, 0, 0, 1, 2, 2, 3], lengths = [5, 5, 5, 14, 4, 4, 1];
  const order = lengthGroupedByRow(rows, lengths, 2, new RandomStream(3, "epoch 0"));
  assertEquals([...order].toSorted(), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals([...order].slice(0, 3), [0, 1, 2], "15 characters in all");
  const one = lengthGroupedByRow(rows, lengths, 100, new RandomStream(3, "epoch 0"));
  assertEquals([...one], [0, 1, 2, 3, 4, 5, 6], "one mega-batch");
});

Deno.test("a stream grouped by length depends on seed and epoch alone, and resumes", async () => {
  const texts = (i: number) => [{ user: `${i}.0`, assistant: "x".repeat(1 + (i * 7) % 11) }];
  const data = await datasetFromRows(
    Array.from({ length: 30 }, (_, i) => ({ texts: texts(i) })),
    { format: "vqa" },
  );
  assertEquals(data.textLength(4), "4.0".length + 1 + 28 % 11);
  const first = new ExampleStream(data, 42, 2), again = new ExampleStream(data, 42, 2);
  const epochs = [await epoch(first), await epoch(first)];
  assertEquals(epochs, [await epoch(again), await epoch(again)]);
  assert(epochs[0].join() !== epochs[1].join());
  assert(epochs[0].join() !== (await epoch(new ExampleStream(data, 42))).join());
  const resumed = new ExampleStream(data, 42, 2);
  resumed.seek({ epoch: 1, index: 9 });
  assertEquals(await epoch(resumed), epochs[1].slice(9));
});
