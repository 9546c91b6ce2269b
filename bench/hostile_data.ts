/**
 * Damaged data files: cut, flipped, mistyped, with wrong columns and wrong pictures. Each must end
 * in right rows, in named skips, or in a clear error; never in another exception, and never in an
 * example that lost its picture without a word.
 *
 * ```
 * deno run -A bench/hostile_data.ts [FILES] [SEED] > docs/runs/hostile_data.log
 * ```
 *
 * @module
 */
import { parquetWriteBuffer } from "hyparquet-writer";
import { DataError } from "../src/data/data_error.ts";
import { dataWarnings } from "../src/data/data_notes.ts";
import { encodePng } from "../src/data/embedded/embedded_shapes_png.ts";
import { loadDataset } from "../src/data/load_dataset.ts";
import type { DatasetFormat } from "../src/data/rows/formats.ts";
import { decodeImage } from "../src/image/decode_image.ts";
import { ImageDecodeError } from "../src/image/image_header.ts";
import { RandomStream } from "../src/random.ts";

const ROWS = 20;
const [files = 2000, seed = 42] = Deno.args.map(Number);
const random = new RandomStream(seed, "hostile data");

/** A row before anything went wrong with it. */
type PlainRow = Record<string, unknown>;

const folder = await Deno.makeTempDir({ prefix: "hostile-" });
const pictures: Uint8Array[] = [];
for (let i = 0; i < 4; i++) {
  const data = Uint8Array.from({ length: 12 * 9 * 3 }, () => random.nextInt(256));
  pictures.push(await encodePng({ width: 12, height: 9, data }));
  await Deno.writeFile(`${folder}/p${i}.png`, pictures[i]);
}
const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));
const textOf = (i: number) => ({ question: `question ${i}, é?`, answer: `answer ${i}` });

/** The forms of rows: each has one picture. */
const FORMS: Readonly<Record<string, [DatasetFormat, (i: number) => PlainRow]>> = {
  "question, answer, image path": ["vqa", (i) => ({ ...textOf(i), image: `p${i % 4}.png` })],
  "image_path": ["vqa", (i) => ({ ...textOf(i), image_path: `p${i % 4}.png` })],
  "image base64": ["vqa", (i) => ({ ...textOf(i), image: base64(pictures[i % 4]) })],
  "messages with a part": ["vqa", (i) => ({
    messages: [
      {
        role: "user",
        content: [{ type: "image", image: `p${i % 4}.png` }, { type: "text", text: `q ${i}` }],
      },
      { role: "assistant", content: `answer ${i}` },
    ],
  })],
  "conversations with a mark": ["vqa", (i) => ({
    image: `p${i % 4}.png`,
    conversations: [
      { from: "human", value: `<image>\nq ${i}` },
      { from: "gpt", value: `answer ${i}` },
    ],
  })],
  "preference": ["preference", (i) => ({
    prompt: `q ${i}`,
    chosen: `good ${i}`,
    rejected: `bad ${i}`,
    images: [`p${i % 4}.png`],
  })],
  "grpo": ["grpo", (i) => ({
    prompt: [{
      role: "user",
      content: [
        {
          type: "image_url",
          image_url: { url: `data:image/png;base64,${base64(pictures[i % 4])}` },
        },
        { type: "text", text: `q ${i}` },
      ],
    }],
    solution: i,
  })],
};

/** Values of another type than a reader wants. */
const WRONG: readonly unknown[] = [
  null,
  "",
  " ",
  0,
  -1.5,
  1e400,
  true,
  [],
  {},
  [[]],
  ["x", null],
  { bytes: null, path: null },
  { role: "user" },
  [{ role: "assistant", content: "alone" }],
  "<image>",
  "gone.png",
  "https://example.com/a.png",
  "data:image/png;base64,@@",
  "\u0000",
  "x".repeat(5000),
  [{ type: "video", video: "a.mp4" }],
  "NaN",
];

function mistyped(row: PlainRow): PlainRow {
  const keys = Object.keys(row);
  return { ...row, [keys[random.nextInt(keys.length)]]: WRONG[random.nextInt(WRONG.length)] };
}

function wrongColumns(row: PlainRow): PlainRow {
  const entries = Object.entries(row);
  const at = random.nextInt(entries.length);
  const [name, value] = entries[at];
  const other = [`${name}s`, name.toUpperCase(), "", "images", "texts"][random.nextInt(5)];
  entries.splice(at, 1, ...(random.nextInt(2) === 0 ? [] : [[other, value] as [string, unknown]]));
  return Object.fromEntries(entries);
}

/** The file of some rows, by its extension. */
function fileOf(extension: string, rows: readonly PlainRow[]): Uint8Array {
  const utf8 = new TextEncoder();
  if (extension === "jsonl") {
    return utf8.encode(rows.map((r) => JSON.stringify(r)).join("\n") + "\n");
  }
  if (extension === "json") return utf8.encode(JSON.stringify(rows));
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const text = (value: unknown) =>
    value === null || value === undefined
      ? ""
      : typeof value === "string"
      ? value
      : JSON.stringify(value);
  if (extension === "csv" || extension === "tsv") {
    const comma = extension === "csv" ? "," : "\t";
    const cell = (value: unknown) => `"${text(value).replaceAll('"', '""')}"`;
    const lines = [names, ...rows.map((row) => names.map((name) => row[name]))];
    return utf8.encode(lines.map((line) => line.map(cell).join(comma)).join("\n") + "\n");
  }
  const columnData = names.map((name) => ({
    name: name === "" ? "empty" : name,
    type: "STRING" as const,
    data: rows.map((row) => row[name] === undefined || row[name] === null ? null : text(row[name])),
  }));
  return new Uint8Array(parquetWriteBuffer({ columnData }));
}

/** What is done to a file. */
const DAMAGES = ["cut", "flipped", "mistyped", "mistyped everywhere", "wrong columns", "inserted"];

function damaged(damage: string, extension: string, row: (i: number) => PlainRow): Uint8Array {
  let rows = Array.from({ length: ROWS }, (_, i) => row(i));
  const hurt = random.nextInt(ROWS);
  if (damage === "mistyped") rows = rows.map((r, i) => i === hurt ? mistyped(r) : r);
  if (damage === "mistyped everywhere") rows = rows.map(mistyped);
  if (damage === "wrong columns") {
    rows = random.nextInt(2) === 0
      ? rows.map(wrongColumns)
      : rows.map((r, i) => i === hurt ? wrongColumns(r) : r);
  }
  const bytes = fileOf(extension, rows);
  if (damage === "cut") return bytes.slice(0, random.nextInt(bytes.length));
  if (damage === "flipped") {
    for (let n = 0; n <= random.nextInt(4); n++) {
      bytes[random.nextInt(bytes.length)] ^= 1 << random.nextInt(8);
    }
  }
  if (damage === "inserted") {
    const at = random.nextInt(bytes.length);
    const extra = Uint8Array.from({ length: 1 + random.nextInt(6) }, () => random.nextInt(256));
    return Uint8Array.from([...bytes.subarray(0, at), ...extra, ...bytes.subarray(at)]);
  }
  return bytes;
}

/** How a file ended. */
interface Outcome {
  readonly kind: "rows" | "skips" | "error" | "warned" | "FAULT";
  readonly detail: string;
}

async function outcomeOf(path: string, format: DatasetFormat): Promise<Outcome> {
  try {
    const dataset = await loadDataset({ path, format });
    let blind = 0, examples = 0;
    for await (const { images } of dataset) {
      examples++;
      if (images.length === 0) blind++;
      for (const { bytes } of images) {
        await decodeImage(bytes).catch((error) => {
          if (!(error instanceof ImageDecodeError)) throw error;
        });
      }
    }
    const skips = dataset.skipped.count;
    if (blind > 0) {
      const warnings = dataWarnings(dataset);
      return warnings.length === 0
        ? { kind: "FAULT", detail: `${blind} of ${examples} examples lost their picture, unsaid` }
        : { kind: "warned", detail: warnings[0] };
    }
    if (skips > 0) return { kind: "skips", detail: dataset.skipped.rows[0].reason };
    return { kind: "rows", detail: "" };
  } catch (error) {
    if (error instanceof DataError) return { kind: "error", detail: error.message };
    return { kind: "FAULT", detail: error instanceof Error ? error.stack ?? "" : String(error) };
  }
}

const forms = Object.entries(FORMS);
const extensions = ["jsonl", "json", "csv", "tsv", "parquet"];
const counts = new Map<string, Map<string, number>>();
const faults: string[] = [];
const details = new Map<string, number>();
for (let n = 0; n < files; n++) {
  const [name, [format, row]] = forms[n % forms.length];
  const damage = DAMAGES[Math.floor(n / forms.length) % DAMAGES.length];
  const extension = extensions[random.nextInt(extensions.length)];
  const path = `${folder}/train.${extension}`;
  await Deno.writeFile(path, damaged(damage, extension, row));
  const { kind, detail } = await outcomeOf(path, format);
  const counted = counts.get(`${damage}, ${extension}`) ?? new Map<string, number>();
  counted.set(kind, (counted.get(kind) ?? 0) + 1);
  counts.set(`${damage}, ${extension}`, counted);
  if (kind === "FAULT") {
    faults.push(`${n}: ${name}, ${damage}, ${extension}: ${detail}`);
    await Deno.copyFile(path, `${folder}/fault-${faults.length}.${extension}`);
  } else if (detail !== "") {
    const short = detail.replaceAll(folder, "").split("\n")[0]
      .replace(/\d+/g, "N").slice(0, 100);
    details.set(`${kind}: ${short}`, (details.get(`${kind}: ${short}`) ?? 0) + 1);
  }
  await Deno.remove(path);
}

const KINDS = ["rows", "skips", "warned", "error", "FAULT"];
console.log(`${files} damaged files, seed ${seed}`);
console.log(`${"damage, file".padEnd(32)} ${KINDS.map((kind) => kind.padStart(7)).join(" ")}`);
for (const [what, counted] of [...counts].sort()) {
  const cells = KINDS.map((kind) => String(counted.get(kind) ?? 0).padStart(7));
  console.log(`${what.padEnd(32)} ${cells.join(" ")}`);
}
console.log("\nthe most frequent skips, warnings and errors (numbers as N):");
for (const [detail, count] of [...details].sort((a, b) => b[1] - a[1]).slice(0, 25)) {
  console.log(`${String(count).padStart(5)} × ${detail}`);
}
console.log(`\nfaults: ${faults.length}`);
for (const fault of faults) console.log(fault);
if (faults.length === 0) await Deno.remove(folder, { recursive: true });
else console.error(`the files are in ${folder}`);
Deno.exit(faults.length === 0 ? 0 : 1);
