import { assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import { loadDataset } from "../../../src/data/load_dataset.ts";
import { openFile } from "../../../src/data/sources/open_source.ts";
import { CASES, caseTest } from "./shared_cases.ts";

const questions = async (path: string, split?: string) =>
  await Array.fromAsync(
    await loadDataset({ path: CASES + path, format: "vqa", split }),
    ({ turns }) => turns[0].user,
  );

caseTest("readme_splits: the README of a local clone declares the splits", async () => {
  assertEquals(await questions("readme_splits"), ["q one0", "q one1"]);
  assertEquals(await questions("readme_splits", "test"), ["q two0", "q two1"]);
});

const encodings: [string, string][] = [
  ["pd_lat.csv", "line 2: byte 41 (0xe9) is not UTF-8"],
  ["lat.json", "line 1: byte 14 (0xe9) is not UTF-8"],
  ["lat.jsonl", "line 1: byte 13 (0xe9) is not UTF-8"],
];
for (const [file, message] of encodings) {
  caseTest(`text_encoding/${file}: an error with the byte's place and the encoding`, async () => {
    const path = `${CASES}text_encoding/${file}`;
    await assertRejects(() => loadDataset({ path, format: "vqa" }), DataError, message);
  });
}

caseTest("parquet_empty_row_group: 6 and 3 rows", async () => {
  assertEquals((await questions("parquet_empty_row_group/middle.parquet")).length, 6);
  assertEquals((await questions("parquet_empty_row_group/shards")).length, 3);
});

caseTest("parquet_interval: a column that nothing needs costs nothing, and is told", async () => {
  const path = `${CASES}parquet_interval/i.parquet`;
  const dataset = await loadDataset({ path, format: "vqa" });
  assertEquals((await dataset.get(0)).turns, [{ user: "q", assistant: "a" }]);
  assertEquals(dataset.notes, [
    "column took of i.parquet is left out: its type INTERVAL is not supported",
  ]);
  const renameColumns = { question: "q", took: "question" };
  await assertRejects(
    () => loadDataset({ path, format: "vqa", renameColumns }),
    DataError,
    "its type INTERVAL is not supported",
  );
});

caseTest("parquet_lz4: pages of nulls", async () => {
  const source = await openFile(`${CASES}parquet_lz4/nulls10.parquet`);
  assertEquals(await source.countRows(), 10);
  assertEquals((await source.get(0)).row, { c: null });
});
