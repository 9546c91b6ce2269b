import { assert, assertEquals, assertRejects } from "@std/assert";
import { dataWarnings } from "../../../src/data/data_notes.ts";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import { datasetFromRows, loadDataset } from "../../../src/data/load_dataset.ts";
import type { Cell, Row } from "../../../src/data/rows/row.ts";
import { RED_PIXEL, RED_PIXEL_BASE64 } from "../sources/parquet_fixture.ts";

const ask = { question: "What?", answer: "red" };
const stored = { bytes: RED_PIXEL, path: null };

/** How many pictures each row has, and what is told. */
async function pictures(rows: readonly Row[]): Promise<{ counts: number[]; warnings: string[] }> {
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  const counts = await Array.fromAsync(dataset, ({ images }) => images.length);
  assertEquals(dataset.pictures.pictures, counts.reduce((sum, count) => sum + count, 0));
  return { counts, warnings: dataWarnings(dataset) };
}

const columns: [string, Cell][] = [
  ["img", stored],
  ["screenshot", stored],
  ["picture", RED_PIXEL],
  ["jpg", RED_PIXEL_BASE64],
  ["photo", `data:image/png;base64,${RED_PIXEL_BASE64}`],
  ["frames", [stored]],
  ["pics", JSON.stringify([`data:image/png;base64,${RED_PIXEL_BASE64}`])],
];
for (const [name, cell] of columns) {
  Deno.test(`a column ${name} that holds pictures is used, and said`, async () => {
    const { counts, warnings } = await pictures([{ ...ask, [name]: cell }]);
    assertEquals(counts, [1]);
    assertEquals(warnings, [`rows: pictures are those of column ${name}`]);
  });
}

Deno.test("numbered columns are used together, in the order of their numbers", async () => {
  const row = { ...ask, image_10: stored, image_2: stored, image_1: stored, image_3: null };
  const { counts, warnings } = await pictures([row]);
  assertEquals(counts, [3]);
  assertEquals(warnings, ["rows: pictures are those of columns image_1, image_2, image_10"]);
});

Deno.test("of two columns with pictures and no clear name, none is used, and both are told", async () => {
  const { counts, warnings } = await pictures([{ ...ask, before: stored, after: stored }]);
  assertEquals(counts, [0]);
  assert(warnings[0].includes("no row has a picture"));
  assert(warnings[1].includes("columns before, after hold pictures, and none is used"));
});

Deno.test("an image column wins, and another one with pictures is told", async () => {
  const { counts, warnings } = await pictures([{ ...ask, image: stored, mask: stored }]);
  assertEquals(counts, [1]);
  assertEquals(warnings, ["rows: column mask may hold pictures too, and is not used"]);
});

Deno.test("pictures in images and in image: those of images are used, and that is told", async () => {
  const { counts, warnings } = await pictures([{
    ...ask,
    images: [stored, stored],
    image: stored,
  }]);
  assertEquals(counts, [2]);
  assertEquals(warnings, [
    "rows: rows have pictures in column images and in column image: those of images are used",
  ]);
  const { warnings: none } = await pictures([{ ...ask, images: [], image: stored }]);
  assertEquals(none, []);
});

Deno.test("names of picture files that are not there are told", async () => {
  const { counts, warnings } = await pictures([{ ...ask, image_path: "gone.png" }]);
  assertEquals(counts, [0]);
  assert(warnings.some((line) => line.includes("image_path") && line.includes("gone.png")));
});

Deno.test("sound in {bytes, path} is not taken for a picture", async () => {
  const sound = { bytes: new TextEncoder().encode("RIFF....WAVE"), path: "a.wav" };
  const { counts, warnings } = await pictures([{ ...ask, sound }]);
  assertEquals(counts, [0]);
  assertEquals(warnings.length, 1);
});

Deno.test("image_folder says where the files are that rows name", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/pictures`);
    await Deno.writeFile(`${dir}/pictures/a.png`, RED_PIXEL);
    await Deno.writeTextFile(`${dir}/a.json`, JSON.stringify([{ ...ask, image: "a.png" }]));
    const path = `${dir}/a.json`;
    const found = await loadDataset({ path, format: "vqa", imageFolder: `${dir}/pictures` });
    assertEquals((await found.get(0)).images.length, 1);
    const lost = await loadDataset({ path, format: "vqa" });
    await assertRejects(() => lost.get(0), RowSkipped, "a.png: there is no such file");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const marked = (user: string): Row => ({
  messages: [{ role: "user", content: user }, { role: "assistant", content: "yes" }],
});

Deno.test("marks and pictures that differ in number are a named, counted skip", async () => {
  const good = Array.from({ length: 30 }, () => ({ ...marked("<image>What?"), image: stored }));
  const rows = [...good, marked("<image>What?"), { ...marked("<image><image>?"), image: stored }];
  const dataset = await datasetFromRows(rows, { format: "vqa" });
  assertEquals(dataset.length, 30);
  assertEquals(dataset.skipped.rows.map(({ reason }) => reason), [
    "1 <image> mark and 0 pictures in the columns",
    "2 <image> marks and 1 picture in the columns",
  ]);
});

Deno.test("parts that name pictures and a column that stores them are the same pictures", async () => {
  const content: Cell = [{ type: "image", image: "/elsewhere/a.png" }, {
    type: "text",
    text: "What?",
  }];
  const messages: Cell = [{ role: "user", content }, { role: "assistant", content: "red" }];
  const { counts } = await pictures([{ messages, images: [stored] }]);
  assertEquals(counts, [1]);
  await assertRejects(
    () => datasetFromRows([{ messages, images: [stored, stored] }], { format: "vqa" }),
    DataError,
    "places for pictures in the messages",
  );
});
