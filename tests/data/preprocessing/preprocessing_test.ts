import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import { datasetFromRows, loadDataset } from "../../../src/data/load_dataset.ts";
import { MemorySource } from "../../../src/data/sources/memory_source.ts";
import { preprocessSource } from "../../../src/data/preprocessing/preprocess_source.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { RowStore } from "../../../src/data/rows/row_store.ts";
import { RED_PIXEL } from "../sources/parquet_fixture.ts";

async function withModule(source: string, run: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/prepare.ts`, source);
    await run(`${dir}/prepare.ts`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const rows: Row[] = Array.from({ length: 6 }, (_, i) => ({
  image: RED_PIXEL,
  problem: `p${i}`,
  solution: `s${i}`,
}));

async function preprocessed(module: string, data: readonly Row[] = rows): Promise<Row[]> {
  const quiet = { module, log: () => {} };
  const { source } = await preprocessSource(new MemorySource("rows", data), quiet, false);
  return await Array.fromAsync(source.rows(0, Infinity), (placed) => placed.row);
}

Deno.test("functions run in the order of their definition, and give rows or parts of them", () =>
  withModule(
    `export function zFirst(row) { return { texts: [{ user: row.problem, assistant: row.solution }] }; }
     export const aSecond = (row) => ({ ...row, texts: [{ ...row.texts[0], user: row.texts[0].user + "?" }] });
     export function unchanged() {}`,
    async (preprocessingFn) => {
      const dataset = await datasetFromRows(rows, { format: "vqa", preprocessingFn });
      const example = await dataset.get(3);
      assertEquals(example.turns, [{ user: "p3?", assistant: "s3" }]);
      assertEquals(example.columns, { problem: "p3", solution: "s3" });
      assertEquals(example.images[0].bytes, RED_PIXEL, "images pass through as bytes");
    },
  ));

Deno.test("batch_ functions get columns and may change the number of rows", () =>
  withModule(
    `export function batch_double(columns: Record<string, unknown[]>) {
       return {
         problem: columns.problem.flatMap((p) => [p, p + " again"]),
         size: columns.problem.flatMap(() => [columns.problem.length, columns.image[0].length]),
       };
     }
     export function batch_drop(columns) {
       const keep = columns.problem.map((p) => !p.startsWith("p1"));
       return Object.fromEntries(Object.entries(columns).map(([k, v]) => [k, v.filter((_, i) => keep[i])]));
     }
     export function batch_same(columns) { return { n: columns.problem.map((_, i) => i) }; }`,
    async (module) => {
      const result = await preprocessed(module);
      assertEquals(result.length, 10);
      assertEquals(result[0], { problem: "p0", size: 6, n: 0 });
      assertEquals(result[9], { problem: "p5 again", size: RED_PIXEL.length, n: 9 });
    },
  ));

Deno.test("batch_ functions never get more than 1,000 rows", () =>
  withModule(
    `export function batch_triple(c) { return { i: c.i.flatMap((x) => [x, x, x]) }; }
     export function batch_size(c) { return { size: c.i.map(() => c.i.length) }; }`,
    async (module) => {
      const data = Array.from({ length: 1500 }, (_, i): Row => ({ i }));
      const result = await preprocessed(module, data);
      assertEquals(result.map((row) => row.i), data.flatMap(({ i }) => [i, i, i]));
      assertEquals(Math.max(...result.map((row) => Number(row.size))), 1000);
    },
  ));

Deno.test("a stream is preprocessed while it is read, pass after pass", () =>
  withModule(
    `export function toTexts(row) { return { texts: [{ user: row.problem, assistant: row.solution }] }; }
     export function batch_drop(c) {
       const keep = c.problem.map((_, i) => i % 2 === 0);
       return { texts: c.texts.filter((_, i) => keep[i]) };
     }`,
    async (preprocessingFn) => {
      const path = preprocessingFn.replace("prepare.ts", "a.jsonl");
      const lines = rows.map(({ problem, solution }) => JSON.stringify({ problem, solution }));
      await Deno.writeTextFile(path, lines.join("\n"));
      const stream = await loadDataset({ path, format: "vqa", preprocessingFn, streaming: true });
      for (let pass = 0; pass < 2; pass++) {
        const users = await Array.fromAsync(stream, (example) => example.turns[0].user);
        assertEquals(users, ["p0", "p2", "p4"]);
      }
    },
  ));

Deno.test("the fingerprint changes with the module's source", () =>
  withModule(`export function f(row) { return row; }`, async (preprocessingFn) => {
    const print = async () =>
      (await datasetFromRows([{ prompt: "x" }], { format: "grpo", preprocessingFn })).fingerprint;
    const first = await print();
    assertEquals(await print(), first);
    await Deno.writeTextFile(preprocessingFn, `export function f(row) { return { ...row }; }`);
    assertNotEquals(await print(), first);
  }));

const failures: [string, string, string][] = [
  ["throws", `export function f(row) { throw new Error("bad " + row.problem); }`, "bad p0"],
  ["gives a number", `export function f() { return 3; }`, "gave number 3, want the row"],
  [
    "gives columns of two lengths",
    `export function batch_f() { return { a: [1], b: [1, 2] }; }`,
    "lists of 1 and 2 rows",
  ],
  ["gives no columns", `export function batch_f() { return [1]; }`, "gave a list of 1"],
  ["exports nothing", `const f = 1;`, "exports no function"],
  ["is not TypeScript", `export function f( {`, "Cannot load preprocessing_fn"],
  [
    "reads a file",
    `export function f() { return { a: Deno.readTextFileSync("/etc/hostname") }; }`,
    "Cannot preprocess rows row 0: f of ",
  ],
];
for (const [what, source, reason] of failures) {
  Deno.test(`a module that ${what} is an error that says so`, () =>
    withModule(source, async (module) => {
      await assertRejects(() => preprocessed(module), DataError, reason);
    }));
}

Deno.test("a Python path names the module that replaces it, and how to set it", async () => {
  await assertRejects(
    () => preprocessed("rlvlm/dataset_preprocessing_sft.py"),
    DataError,
    "--set dataset.preprocessing_fn=builtin:dataset_preprocessing_sft",
  );
  await assertRejects(() => preprocessed("my/own.py"), DataError, "write it again as my/own.ts");
  await assertRejects(() => preprocessed("builtin:none"), DataError, "there is no such built-in");
});

Deno.test("RowStore gives back rows from memory, and from a file if there are many", async () => {
  const folder = { read: () => Promise.resolve(RED_PIXEL) };
  for (const memoryBytes of [1e9, 300]) {
    const store = new RowStore(memoryBytes);
    for (let i = 0; i < 50; i++) {
      await store.append({ row: { i, bytes: RED_PIXEL, none: null }, place: `row ${i}`, folder });
    }
    const source = store.finish("rows");
    assertEquals(source.columns, ["i", "bytes", "none"]);
    const { row, place } = await source.get(49);
    assertEquals([row.i, place, row.none], [49, "row 49", null]);
    assert(row.bytes instanceof Uint8Array);
    assertEquals(new Uint8Array(row.bytes), RED_PIXEL);
    const some = await Array.fromAsync(source.rows(10, 12), (placed) => placed.row.i);
    assertEquals(some, [10, 11]);
  }
});
