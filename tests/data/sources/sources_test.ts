import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import { formatReader } from "../../../src/data/rows/formats.ts";
import { RandomStream } from "../../../src/random.ts";
import { openFile } from "../../../src/data/sources/open_source.ts";
import { ParquetSource } from "../../../src/data/sources/parquet_source.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import type { RowSource } from "../../../src/data/sources/row_source.ts";
import { RED_PIXEL, writeVqaParquet } from "./parquet_fixture.ts";

async function inFolder(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function allRows(source: RowSource, start = 0, end = Infinity): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const placed of source.rows(start, end)) rows.push(placed.row);
  return rows;
}

/** Rows read at random, backwards, equal those read in order; so do ranges. */
async function checkRandomAccess(source: RowSource): Promise<void> {
  const rows = await allRows(source);
  const total = await source.countRows();
  assertEquals(rows.length, total);
  for (let i = total - 1; i >= 0; i -= Math.ceil(total / 50)) {
    assertEquals((await source.get(i)).row, rows[i]);
  }
  const middle = Math.floor(total / 2);
  assertEquals(await allRows(source, middle, middle + 3), rows.slice(middle, middle + 3));
  assertEquals(await allRows(source, total, total + 3), []);
  await assertRejects(async () => await source.get(total), RangeError);
}

Deno.test("a parquet file gives text as text, bytes as bytes and int64 as numbers", () =>
  inFolder(async (dir) => {
    writeVqaParquet(`${dir}/a.parquet`, 95, 10);
    const source = await openFile(`${dir}/a.parquet`);
    assertEquals(source.columns, ["image", "question", "answer", "number"]);
    await checkRandomAccess(source);
    const { row, place } = await source.get(41);
    assertEquals(place, "a.parquet row 41");
    assertEquals(row, {
      image: { bytes: Uint8Array.from([...RED_PIXEL, 41]), path: "41.png" },
      question: "row 41?",
      answer: "answer 41",
      number: 41,
    });
  }));

Deno.test("a parquet file reads only the row groups and columns that are asked for", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.parquet`;
    writeVqaParquet(path, 1000, 100);
    const size = Deno.statSync(path).size;
    const source = await ParquetSource.open(path);
    // Overwrite every byte but the footer and the last row group: what is not read does no harm.
    const start = size * 0.5 | 0;
    const file = await Deno.open(path, { write: true });
    await file.write(new Uint8Array(start));
    file.close();
    assertEquals((await source.get(999)).row.number, 999);
    await assertRejects(async () => await source.get(0), DataError, "not a complete parquet file");
    for await (const placed of source.rows(990, 991, ["number"])) {
      assertEquals(placed.row, { number: 990 });
    }
  }));

for (
  const [what, spoil, reason] of [
    [
      "cut short",
      (bytes: Uint8Array) => bytes.slice(0, bytes.length / 2),
      "not a complete parquet",
    ],
    [
      "garbage",
      (bytes: Uint8Array) => bytes.map((_, i) => i * 7919 & 255),
      "not a complete parquet",
    ],
    ["empty", () => new Uint8Array(), "the file is empty"],
    [
      "lying about its footer's length",
      (bytes: Uint8Array) => {
        const copy = bytes.slice();
        new DataView(copy.buffer).setUint32(copy.length - 8, 0x7fffffff, true);
        return copy;
      },
      "not a complete parquet",
    ],
  ] as const
) {
  Deno.test(`a parquet file that is ${what} is an error that says so`, () =>
    inFolder(async (dir) => {
      writeVqaParquet(`${dir}/a.parquet`, 50);
      Deno.writeFileSync(`${dir}/a.parquet`, spoil(Deno.readFileSync(`${dir}/a.parquet`)));
      const error = await assertRejects(() => openFile(`${dir}/a.parquet`), DataError, reason);
      assertStringIncludes(error.message, `${dir}/a.parquet`);
    }));
}

Deno.test("a parquet file with a spoilt page fails when that page is read", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.parquet`;
    writeVqaParquet(path, 50);
    const bytes = Deno.readFileSync(path);
    bytes.fill(0xff, 4, 200);
    Deno.writeFileSync(path, bytes);
    const source = await openFile(path);
    await assertRejects(async () => await source.get(0), DataError, "not a complete parquet file");
  }));

Deno.test("JSON lines are rows, blank lines, CRLF and a missing last newline included", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.jsonl`;
    Deno.writeTextFileSync(path, '\ufeff{"a":1}\r\n\n{"a":2,"b":"ü"}\n   \n{"a":3}');
    const source = await openFile(path);
    assertEquals(source.columns, ["a", "b"]);
    assertEquals(await allRows(source), [{ a: 1 }, { a: 2, b: "ü" }, { a: 3 }]);
    await checkRandomAccess(source);
    assertEquals((await source.get(2)).place, "a.jsonl line 5");
  }));

Deno.test("JSON lines of many blocks and long lines are found again at random", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.jsonl`;
    const lines = Array.from(
      { length: 3000 },
      (_, i) =>
        JSON.stringify({ i, text: "ж".repeat(i % 700), long: i === 1500 ? "x".repeat(3e6) : "" }),
    );
    Deno.writeTextFileSync(path, lines.join("\n"));
    const source = await openFile(path);
    await checkRandomAccess(source);
    assertEquals((await source.get(2222)).place, "a.jsonl line 2223");
  }));

Deno.test("a line that is not JSON names its file and line", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.jsonl`;
    Deno.writeTextFileSync(path, '{"a":1}\n\n{"a":\n');
    const error = await assertRejects(() => openFile(path), DataError);
    assertStringIncludes(error.message, `Cannot read ${path} line 3: it is not JSON`);
    Deno.writeTextFileSync(path, '{"a":1}\n[1]\n');
    await assertRejects(() => openFile(path), DataError, "line 2: want an object of columns");
    Deno.writeTextFileSync(path, " \n");
    await assertRejects(() => openFile(path), DataError, "it has no rows");
    Deno.writeTextFileSync(path, "");
    await assertRejects(() => openFile(path), DataError, "the file is empty");
  }));

Deno.test("a .json file may be an array, an object with data, or JSON lines", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.json`;
    const rows = [{ a: 1 }, { a: 2 }];
    for (
      const text of [
        JSON.stringify(rows),
        JSON.stringify(rows, null, 2),
        JSON.stringify({ data: rows, version: 1 }),
        JSON.stringify({ data: rows }, null, 2),
        rows.map((row) => JSON.stringify(row)).join("\n"),
      ]
    ) {
      Deno.writeTextFileSync(path, text);
      assertEquals(await allRows(await openFile(path)), rows);
    }
    for (
      const [text, reason] of [
        ["[1, 2]", "want an object of columns"],
        ["hello", "want a JSON array"],
        ['[{"a": 1},', "it is not JSON"],
        ["[]", "it has no rows"],
        ["", "the file is empty"],
      ]
    ) {
      Deno.writeTextFileSync(path, text);
      await assertRejects(() => openFile(path), DataError, reason);
    }
  }));

Deno.test("CSV has quotes, commas and newlines within them, and nulls", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.csv`;
    Deno.writeTextFileSync(path, '\ufeffname,text\r\na,"x, ""y""\r\nz"\r\n\r\nb,\r\nc,ü\r\n');
    const source = await openFile(path);
    assertEquals(source.columns, ["name", "text"]);
    assertEquals(await allRows(source), [
      { name: "a", text: 'x, "y"\r\nz' },
      { name: "b", text: null },
      { name: "c", text: "ü" },
    ]);
    await checkRandomAccess(source);
  }));

Deno.test("CSV of many blocks is found again at random, quoted newlines included", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.csv`;
    const lines = Array.from({ length: 4000 }, (_, i) => `${i},"a\n${"ж,".repeat(i % 200)}"`);
    Deno.writeTextFileSync(path, "number,text\n" + lines.join("\n"));
    const source = await openFile(path);
    await checkRandomAccess(source);
    assertEquals((await source.get(3333)).row.number, "3333");
  }));

Deno.test("CSV with wrong columns or an open quote names the line", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.csv`;
    Deno.writeTextFileSync(path, "a,b\n1,2\n\n3\n");
    await assertRejects(() => openFile(path), DataError, "line 4: it has 1 values, want 2 (a, b)");
    Deno.writeTextFileSync(path, 'a,b\n1,"2\n');
    await assertRejects(() => openFile(path), DataError, "line 2: Quote Not Closed");
    Deno.writeTextFileSync(path, "a,a\n1,2\n");
    await assertRejects(() => openFile(path), DataError, "must name every column once");
    Deno.writeTextFileSync(path, "a,b\n");
    await assertRejects(() => openFile(path), DataError, "it has no rows");
  }));

Deno.test("a file that is missing or of another kind is an error with the way out", async () => {
  await assertRejects(() => openFile("/nowhere/a.parquet"), DataError, "there is no such file");
  await assertRejects(() => openFile("a.xlsx"), DataError, "want .parquet, .jsonl, .json, .csv");
});

Deno.test("rows() reads JSON lines as they are asked for, a small part of the file", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.jsonl`;
    // The end of the file is broken: a reader that stops before does not see it.
    const good = Array.from(
      { length: 20_000 },
      (_, i) => JSON.stringify({ i, pad: "x".repeat(90) }),
    );
    Deno.writeTextFileSync(path, good.join("\n") + "\nbroken");
    const source = await openFile(path);
    let seen = 0;
    for await (const { row } of source.rows(0, Infinity)) {
      assertEquals(row.i, seen++);
      if (seen === 15_000) break;
    }
    assertEquals(seen, 15_000);
    await assertRejects(
      async () => {
        for await (const placed of source.rows(0, Infinity)) assert(placed.row);
      },
      DataError,
      "line 20001: it is not JSON",
    );
  }));

Deno.test("a parquet file with any bytes changed is read or refused, and never hangs", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.parquet`;
    writeVqaParquet(path, 40, 10);
    const good = Deno.readFileSync(path);
    const footer = new DataView(good.buffer).getUint32(good.length - 8, true);
    const random = new RandomStream(1, "fuzz");
    let refused = 0;
    for (let round = 0; round < 250; round++) {
      const bytes = good.slice();
      for (let i = 0; i <= round % 3; i++) {
        const inFooter = good.length - 8 - random.nextInt(footer);
        bytes[round % 2 ? inFooter : random.nextInt(good.length)] = random.nextInt(256);
      }
      Deno.writeFileSync(path, bytes);
      try {
        await allRows(await openFile(path));
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        refused++;
      }
    }
    assert(refused > 100, `${refused} of 250 refused`);
  }));

Deno.test("a parquet file that goes away while it is read is an error, not the end of the process", () =>
  inFolder(async (dir) => {
    writeVqaParquet(`${dir}/a.parquet`, 40, 10);
    const source = await openFile(`${dir}/a.parquet`);
    Deno.removeSync(`${dir}/a.parquet`);
    await assertRejects(async () => await source.get(0), DataError, "there is no such file");
  }));

Deno.test("a parquet text that is not UTF-8 stays bytes, which no reader takes for text", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.parquet`;
    writeVqaParquet(path, 3);
    const bytes = Deno.readFileSync(path);
    const text = new TextEncoder().encode("answer 0");
    for (let i = 0; i < bytes.length; i++) {
      if (text.every((byte, k) => bytes[i + k] === byte)) bytes[i + 7] = 0xe9;
    }
    Deno.writeFileSync(path, bytes);
    const source = await openFile(path);
    const { row } = await source.get(0);
    assert(row.answer instanceof Uint8Array);
    assertThrows(() => formatReader("vqa").read(row, false), RowSkipped, "that are not UTF-8 text");
    assertEquals((await source.get(2)).row.answer, "answer 2");
  }));

Deno.test("pictures of a parquet file are counted without reading their bytes", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.parquet`;
    writeVqaParquet(path, 3);
    const source = await openFile(path);
    const cells = [];
    for await (const { row } of source.rows(0, 3, ["image"], ["image"])) cells.push(row.image);
    assertEquals(cells[0], { bytes: new Uint8Array(0), path: "0.png" });
    assertEquals(cells.length, 3);
  }));
