import { assertEquals } from "@std/assert";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { splitPositions } from "../../../src/data/splits/train_test_split.ts";

// datasets 5.2: Dataset.from_dict({"i": range(n)}).train_test_split(test_size=0.2, seed=42)
const recorded: [rows: number, test: number[], train: number[]][] = [
  [5, [4], [2, 3, 1, 0]],
  [7, [3, 2], [6, 4, 1, 5, 0]],
  [10, [5, 6], [0, 7, 3, 2, 4, 9, 1, 8]],
  [11, [6, 7, 0], [10, 3, 5, 2, 4, 9, 1, 8]],
  [13, [0, 12, 7], [10, 9, 3, 6, 5, 2, 4, 11, 1, 8]],
];

const rows = (count: number): Row[] =>
  Array.from({ length: count }, (_, i) => ({ question: `q${i}`, answer: "a", i }));

for (const [count, test, train] of recorded) {
  Deno.test(`80/20 of ${count} rows are the rows and the order of train_test_split`, async () => {
    assertEquals(splitPositions(count, 0.2, 42, "datasets"), { test, train });
    const dataset = await datasetFromRows(rows(count), { format: "vqa" });
    const parts = dataset.split(0.2, 42);
    const numbers = (part: typeof dataset) => Array.fromAsync(part, (e) => e.columns.i);
    assertEquals(await numbers(parts.test), test);
    assertEquals(await numbers(parts.train), train);
  });
}

Deno.test("unusable rows take part in the draw, so that the others fall where datasets has them", async () => {
  const data = rows(20);
  data[3] = { question: "q3", answer: "", i: 3 };
  const dataset = await datasetFromRows(data, { format: "vqa" });
  const { train, test } = splitPositions(20, 0.2, 42, "datasets");
  const parts = dataset.split(0.2, 42);
  const numbers = (part: typeof dataset) => Array.fromAsync(part, (e) => e.columns.i);
  assertEquals(await numbers(parts.test), test.filter((i) => i !== 3));
  assertEquals(await numbers(parts.train), train.filter((i) => i !== 3));
});

Deno.test("the turns of a row stay together, in their order", async () => {
  const turn = (user: string) => ({ user, assistant: "a" });
  const data = Array.from({ length: 10 }, (_, i): Row => ({ texts: [turn("x"), turn("y")], i }));
  const dataset = await datasetFromRows(data, { format: "vqa", splitTurns: true });
  const { test } = dataset.split(0.2, 42);
  assertEquals(
    await Array.fromAsync(test, (e) => [e.columns.i, e.turns[0].user]),
    [[5, "x"], [5, "y"], [6, "x"], [6, "y"]],
  );
});

Deno.test("legacy keeps the rows and the order of earlier runs", () => {
  const { train, test } = splitPositions(10, 0.2, 42, "legacy");
  assertEquals(test, [0, 1]);
  assertEquals(train, [2, 3, 4, 5, 6, 7, 8, 9]);
});
