import { assertEquals, assertThrows } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import { datasetFromRows } from "../../../src/data/load_dataset.ts";
import { unpaired } from "../../../src/data/rows/unpaired_format.ts";

const read = (row: Parameters<typeof unpaired.read>[0]) => unpaired.read(row, false).examples;

Deno.test("a row with completion and label is one answer", () => {
  const [example] = read({ prompt: "Color?", completion: "red", label: true, source: "x" });
  assertEquals(example, {
    prompt: [{ role: "user", content: "Color?" }],
    completion: "red",
    desirable: true,
    columns: { source: "x" },
  });
});

Deno.test("labels may be numbers or words", () => {
  const label = (value: string | number | boolean) =>
    read({ prompt: "?", completion: "a", label: value })[0].desirable;
  assertEquals([1, 0, "True", "false"].map(label), [true, false, true, false]);
  assertThrows(() => label("good"), RowSkipped, "want true or false");
});

Deno.test("messages are read as prompt and completion", () => {
  const [example] = read({
    prompt: [{ role: "user", content: "Color?" }],
    completion: [{ role: "assistant", content: "blue" }],
    label: false,
  });
  assertEquals([example.completion, example.desirable], ["blue", false]);
});

Deno.test("a pair becomes a good and a bad answer to the same prompt", async () => {
  const rows = [{ prompt: "Color?", chosen: "red", rejected: "blue" }, {
    prompt: "Shape?",
    chosen: "circle",
    rejected: "square",
  }];
  const data = await datasetFromRows(rows, { format: "unpaired", name: "pairs" });
  assertEquals(data.length, 4);
  const answers: [string, boolean][] = [];
  for (let i = 0; i < data.length; i++) {
    const { completion, desirable } = await data.get(i);
    answers.push([completion, desirable]);
  }
  assertEquals(answers, [["red", true], ["blue", false], ["circle", true], ["square", false]]);
});

Deno.test("a column that is missing is named", () => {
  assertThrows(
    () => unpaired.checkColumns(["prompt", "completion", "labels"], "x.jsonl"),
    DataError,
    "want a column label",
  );
  assertThrows(() => unpaired.checkColumns(["prompt", "answer"], "x.jsonl"), DataError, "chosen");
});

Deno.test("a row without a label is skipped, and says so", () => {
  assertThrows(() => read({ prompt: "?", completion: "a", label: null }), RowSkipped, "no label");
});
