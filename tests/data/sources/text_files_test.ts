import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import { loadDataset } from "../../../src/data/load_dataset.ts";
import { openFile } from "../../../src/data/sources/open_source.ts";
import { parseJson } from "../../../src/data/sources/json_text.ts";
import { checkUtf8, decodeUtf8 } from "../../../src/data/sources/utf8.ts";

async function inFolder(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const ROW = { question: "Größe? 😀", answer: "x" };

async function rowsOf(path: string) {
  const source = await openFile(path);
  const rows = [];
  for await (const { row } of source.rows(0, Infinity)) rows.push(row);
  return rows;
}

async function gzipped(text: string): Promise<Uint8Array> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const files: [string, string][] = [
  ["a.ndjson", JSON.stringify(ROW) + "\n"],
  ["a.jsonl", "\ufeff" + JSON.stringify(ROW) + "\r\n"],
  ["a.json", "\ufeff" + JSON.stringify([ROW])],
  ["a.tsv", `question\tanswer\n${ROW.question}\tx\n`],
  ["a.csv", `\ufeffquestion,answer\n${ROW.question},x\n`],
];
for (const [name, text] of files) {
  Deno.test(`${name} is read, plain and as ${name}.gz`, () =>
    inFolder(async (dir) => {
      await Deno.writeTextFile(`${dir}/${name}`, text);
      assertEquals(await rowsOf(`${dir}/${name}`), [ROW]);
      await Deno.writeFile(`${dir}/${name}.gz`, await gzipped(text));
      assertEquals(await rowsOf(`${dir}/${name}.gz`), [ROW]);
    }));
}

Deno.test("a gzip file that is cut is an error that names it", () =>
  inFolder(async (dir) => {
    const whole = await gzipped((JSON.stringify(ROW) + "\n").repeat(100));
    await Deno.writeFile(`${dir}/a.jsonl.gz`, whole.slice(0, 60));
    await assertRejects(() => openFile(`${dir}/a.jsonl.gz`), DataError, "not a complete gzip file");
  }));

Deno.test("a CSV column without a name is pandas' index", () =>
  inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/a.csv`, ",question,answer\n0,q,a\n");
    assertEquals(await rowsOf(`${dir}/a.csv`), [
      { "Unnamed: 0": "0", question: "q", answer: "a" },
    ]);
  }));

Deno.test("parseJson() takes Python's NaN and Infinity for null, and leaves texts alone", () => {
  assertEquals(parseJson('{"a": NaN, "b": [-Infinity, 1], "c": "NaN and \\"Infinity\\""}'), {
    a: null,
    b: [null, 1],
    c: 'NaN and "Infinity"',
  });
});

Deno.test("decodeUtf8() names the byte, its line and the encoding wanted", async () => {
  const at = { path: "a.txt", offset: 100, line: 5 };
  const bytes = Uint8Array.from([0x61, 0x0a, 0xc3, 0xa9, 0xe9, 0x20]);
  await assertRejects(
    async () => await Promise.resolve(decodeUtf8(bytes, at)),
    DataError,
    "Cannot read a.txt line 6: byte 104 (0xe9) is not UTF-8, want UTF-8",
  );
});

Deno.test("checkUtf8() follows characters over the ends of its chunks", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.txt`;
    for (const shift of [0, 1, 2, 3]) {
      const text = "a".repeat((1 << 20) - 2 + shift) + "😀é\n".repeat(9);
      await Deno.writeTextFile(path, text);
      await checkUtf8(path);
    }
    const bytes = new Uint8Array((1 << 20) + 10).fill(0x61);
    bytes[1 << 20] = 0x80;
    await Deno.writeFile(path, bytes);
    await assertRejects(() => checkUtf8(path), DataError, `byte ${1 << 20} (0x80)`);
  }));

Deno.test("UTF-16, as Excel writes it, is refused by its name", () =>
  inFolder(async (dir) => {
    const text = "question,answer\nq,a\n";
    const bytes = new Uint8Array(2 + 2 * text.length);
    bytes.set([0xff, 0xfe]);
    [...text].forEach((char, i) => bytes[2 + 2 * i] = char.charCodeAt(0));
    await Deno.writeFile(`${dir}/a.csv`, bytes);
    await assertRejects(() => openFile(`${dir}/a.csv`), DataError, "iconv -f UTF-16");
  }));

Deno.test("a folder of save_to_disk is refused with the way out", () =>
  inFolder(async (dir) => {
    await Deno.writeTextFile(`${dir}/dataset_dict.json`, '{"splits": ["train"]}');
    await Deno.mkdir(`${dir}/train`);
    await Deno.writeTextFile(`${dir}/train/data-00000-of-00001.arrow`, "");
    const error = await assertRejects(() => loadDataset({ path: dir, format: "vqa" }), DataError);
    assert(error.message.includes("save_to_disk") && error.message.includes("to_parquet"));
  }));

/** pyarrow 26: LZ4, pages of version VERSION whose values are all null in two of four columns. */
const LZ4_NULLS: Readonly<Record<string, string>> = {
  "1.0":
    "UEFSMRUAFSQVJCwVBBUAFQYVBhwAAABgAgAAAAQBBgCAYT8CAAAAYj8VABUgFSQsFQQVABUGFQYcAAAA8AECAAAABAEBAAAAeAEAAAB5FQAVDBUOLBUEFQAVBhUGHAAAAGACAAAABAAVABUMFQ4sFQQVABUGFQYcAAAAYAIAAAAEABUEGVw1ABgGc2NoZW1hFQgAFQwlAhgIcXVlc3Rpb24lAEwcAAAAFQwlAhgGYW5zd2VyJQBMHAAAABUMJQIYBG5vdGUlAEwcAAAAFQQlAhgBbgAWBBkcGUwmABwVDBklBgAZGAhxdWVzdGlvbhUOFgQWShZKJghJHBUAFQAVAgA8FggZBhkmAAQAAAAmABwVDBklBgAZGAZhbnN3ZXIVDhYEFkYWSiZSSRwVABUAFQIAPBYEGQYZJgAEAAAAJgAcFQwZJQYAGRgEbm90ZRUOFgQWMhY0JpwBSRwVABUAFQIAPBYAGQYZJgQAAAAAJgAcFQQZJQYAGRgBbhUOFgQWMhY0JtABSRwVABUAFQIAPCkGGSYEAAAAABb0ARYEJggW/AEAGRwYDEFSUk9XOnNjaGVtYRjsAi8vLy8vd2dCQUFBUUFBQUFBQUFLQUF3QUJnQUZBQWdBQ2dBQUFBQUJCQUFNQUFBQUNBQUlBQUFBQkFBSUFBQUFCQUFBQUFRQUFBQ2tBQUFBYUFBQUFEd0FBQUFFQUFBQWZQLy8vd0FBQVFJUUFBQUFIQUFBQUFRQUFBQUFBQUFBQVFBQUFHNEFBQUFJQUF3QUNBQUhBQWdBQUFBQUFBQUJRQUFBQUxELy8vOEFBQUVGRUFBQUFCZ0FBQUFFQUFBQUFBQUFBQVFBQUFCdWIzUmxBQUFBQUp6Ly8vL1kvLy8vQUFBQkJSQUFBQUFZQUFBQUJBQUFBQUFBQUFBR0FBQUFZVzV6ZDJWeUFBREUvLy8vRUFBVUFBZ0FCZ0FIQUF3QUFBQVFBQkFBQUFBQUFBRUZFQUFBQUNBQUFBQUVBQUFBQUFBQUFBZ0FBQUJ4ZFdWemRHbHZiZ0FBQUFBRUFBUUFCQUFBQUFBQUFBQT0AGCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRlMHAAAHAAAHAAAHAAAANMCAABQQVIx",
  "2.0":
    "UEFSMRUGFRwVHFwVBBUAFQQVABUEFQASHAAAAAQBAgAAAGE/AgAAAGI/FQYVGBUYXBUEFQAVBBUAFQQVABIcAAAABAEBAAAAeAEAAAB5FQYVBBUEXBUEFQQVBBUAFQQVABIcAAAABAAVBhUEFQRcFQQVBBUEFQAVBBUAEhwAAAAEABUEGVw1ABgGc2NoZW1hFQgAFQwlAhgIcXVlc3Rpb24lAEwcAAAAFQwlAhgGYW5zd2VyJQBMHAAAABUMJQIYBG5vdGUlAEwcAAAAFQQlAhgBbgAWBBkcGUwmABwVDBklBgAZGAhxdWVzdGlvbhUOFgQWTBZMJghJHBUAFQAVAgA8FggZBhkmAAQAAAAmABwVDBklBgAZGAZhbnN3ZXIVDhYEFkgWSCZUSRwVABUAFQIAPBYEGQYZJgAEAAAAJgAcFQwZJQYAGRgEbm90ZRUOFgQWNBY0JpwBSRwVABUAFQIAPBYAGQYZJgQAAAAAJgAcFQQZJQYAGRgBbhUOFgQWNBY0JtABSRwVABUAFQIAPCkGGSYEAAAAABb8ARYEJggW/AEAGRwYDEFSUk9XOnNjaGVtYRjsAi8vLy8vd2dCQUFBUUFBQUFBQUFLQUF3QUJnQUZBQWdBQ2dBQUFBQUJCQUFNQUFBQUNBQUlBQUFBQkFBSUFBQUFCQUFBQUFRQUFBQ2tBQUFBYUFBQUFEd0FBQUFFQUFBQWZQLy8vd0FBQVFJUUFBQUFIQUFBQUFRQUFBQUFBQUFBQVFBQUFHNEFBQUFJQUF3QUNBQUhBQWdBQUFBQUFBQUJRQUFBQUxELy8vOEFBQUVGRUFBQUFCZ0FBQUFFQUFBQUFBQUFBQVFBQUFCdWIzUmxBQUFBQUp6Ly8vL1kvLy8vQUFBQkJSQUFBQUFZQUFBQUJBQUFBQUFBQUFBR0FBQUFZVzV6ZDJWeUFBREUvLy8vRUFBVUFBZ0FCZ0FIQUF3QUFBQVFBQkFBQUFBQUFBRUZFQUFBQUNBQUFBQUVBQUFBQUFBQUFBZ0FBQUJ4ZFdWemRHbHZiZ0FBQUFBRUFBUUFCQUFBQUFBQUFBQT0AGCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRlMHAAAHAAAHAAAHAAAANMCAABQQVIx",
};
for (const [version, base64] of Object.entries(LZ4_NULLS)) {
  Deno.test(`LZ4 pages of nulls alone are read, pages of version ${version}`, () =>
    inFolder(async (dir) => {
      const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
      await Deno.writeFile(`${dir}/a.parquet`, bytes);
      assertEquals(await rowsOf(`${dir}/a.parquet`), [
        { question: "a?", answer: "x", note: null, n: null },
        { question: "b?", answer: "y", note: null, n: null },
      ]);
    }));
}
