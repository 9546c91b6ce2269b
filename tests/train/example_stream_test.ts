import { assert, assertEquals } from "@std/assert";
import { datasetFromRows } from "../../src/data/load_dataset.ts";
import type { Row } from "../../src/data/row.ts";
import { RandomStream } from "../../src/random.ts";
import { ExampleStream, shuffledByRow } from "../../src/train/example_stream.ts";

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
