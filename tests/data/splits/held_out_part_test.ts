import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError } from "../../../src/data/data_error.ts";
import { encodePng } from "../../../src/data/embedded/embedded_shapes_png.ts";
import { datasetFromRows, loadDataset } from "../../../src/data/load_dataset.ts";
import type { Row } from "../../../src/data/rows/row.ts";
import { heldOutPart } from "../../../src/data/splits/held_out_part.ts";
import { pictureOverlap } from "../../../src/data/splits/picture_overlap.ts";
import { loadTrainAndEval } from "../../../src/data/splits/train_eval.ts";
import { splitPositions } from "../../../src/data/splits/train_test_split.ts";
import type { VqaExample } from "../../../src/data/rows/formats.ts";

/** A picture of one colour; another number is another file. */
function picture(number: number): Uint8Array {
  const data = new Uint8Array(3 * 4).fill(number % 256);
  return encodePng({ width: 2, height: 2, data });
}

/** Rows with `perPicture` questions about each of so many pictures, one after the other. */
function rows(pictures: number, perPicture: number): Row[] {
  return Array.from({ length: pictures * perPicture }, (_, i) => ({
    image: picture(i % pictures),
    question: `q${i}`,
    answer: "a",
    number: i,
    picture: i % pictures,
  }));
}

const open = (data: readonly Row[]) => datasetFromRows(data, { format: "vqa" });
const column = (part: AsyncIterable<VqaExample>, name: string) =>
  Array.fromAsync(part, (example) => example.columns[name]);

Deno.test("auto keeps rows that show the same picture on one side, and says so", async () => {
  const { train, test, heldOut, note } = await heldOutPart(await open(rows(20, 5)), {});
  const [trained, held] = [await column(train, "picture"), await column(test, "picture")];
  assertEquals([trained.length, held.length], [80, 20]);
  assertEquals(held.filter((one) => trained.includes(one)), []);
  assertEquals(new Set(held).size, 4);
  assertEquals(heldOut, { pictures: 4, inTraining: 0 });
  assertEquals(note.length, 1);
  assert(note[0].includes("100 rows share pictures (20 different ones)"), note[0]);
  assert(note[0].includes("20 of 100 rows"), note[0]);
});

Deno.test("row holds out the rows of train_test_split, pictures shared or not", async () => {
  const { test, train, heldOut } = await heldOutPart(await open(rows(20, 5)), { splitBy: "row" });
  const expected = splitPositions(100, 0.2, 42, "datasets");
  assertEquals(await column(test, "number"), [...expected.test]);
  assertEquals(await column(train, "number"), [...expected.train]);
  assertEquals(heldOut, null);
});

for (const splitBy of ["auto", "picture"] as const) {
  Deno.test(`${splitBy} without shared pictures holds out the rows of train_test_split`, async () => {
    const { test, train, note, heldOut } = await heldOutPart(await open(rows(50, 1)), { splitBy });
    const expected = splitPositions(50, 0.2, 42, "datasets");
    assertEquals(await column(test, "number"), [...expected.test]);
    assertEquals(await column(train, "number"), [...expected.train]);
    assertEquals([note, heldOut], [[], { pictures: 10, inTraining: 0 }]);
  });
}

Deno.test("rows that are linked by any of their pictures stay together", async () => {
  // 0-1, 1-2, 2-3, … : each row shares one picture with the next one, in blocks of five rows.
  const data = Array.from({ length: 50 }, (_, i): Row => ({
    images: [picture(i), picture(i % 5 === 4 ? i + 100 : i + 1)],
    question: `q${i}`,
    answer: "a",
    block: Math.floor(i / 5),
  }));
  const { train, test } = await heldOutPart(await open(data), {});
  const [trained, held] = [await column(train, "block"), await column(test, "block")];
  assertEquals([trained.length, held.length], [40, 10]);
  assertEquals(held.filter((one) => trained.includes(one)), []);
});

Deno.test("one picture for all rows: auto holds out rows and says so, picture refuses", async () => {
  const data = await open(rows(1, 10));
  const { test, heldOut, note } = await heldOutPart(data, {});
  assertEquals([test.length, heldOut], [2, { pictures: 1, inTraining: 1 }]);
  assert(note[0].includes("all rows show the same picture"), note[0]);
  await assertRejects(
    () => heldOutPart(data, { splitBy: "picture" }),
    DataError,
    "split_by to row",
  );
});

Deno.test("auto stops looking at a limit if nothing was shared until there", async () => {
  const data = await open(rows(30, 1));
  const keys = await data.pictureKeys({ limitBytes: 300 });
  assertEquals(keys.complete, false);
  assert(keys.ofRow.size < 10, `${keys.ofRow.size} rows read`);
  const shared = await (await open(rows(2, 15))).pictureKeys({ limitBytes: 300 });
  assertEquals([shared.complete, shared.sharingRows, shared.pictures], [true, 30, 2]);
});

Deno.test("files of the same bytes under two names are the same picture", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const lines: string[] = [];
    for (let i = 0; i < 20; i++) {
      const file = `${i}.png`;
      Deno.writeFileSync(`${folder}/${file}`, picture(i % 10));
      lines.push(JSON.stringify({ image: file, question: "q", answer: "a", picture: i % 10 }));
    }
    Deno.writeTextFileSync(`${folder}/train.jsonl`, lines.join("\n"));
    const { train, test } = await heldOutPart(
      await loadDataset({ path: folder, format: "vqa" }),
      {},
    );
    const trained = await column(train, "picture");
    assertEquals((await column(test, "picture")).filter((one) => trained.includes(one)), []);
    const stream = await loadDataset({ path: folder, format: "vqa", streaming: true });
    const parts = await heldOutPart(stream, {});
    const [first, second] = [
      await column(parts.train, "picture"),
      await column(parts.test, "picture"),
    ];
    assertEquals(first.length + second.length, 20);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a stream of pictures as bytes is placed by picture, by row with split_by: row", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const lines = rows(40, 4).map((row) =>
      JSON.stringify({ ...row, image: (row.image as Uint8Array).toBase64() })
    );
    Deno.writeTextFileSync(`${folder}/train.jsonl`, lines.join("\n"));
    const stream = await loadDataset({ path: folder, format: "vqa", streaming: true });
    const { train, test } = await heldOutPart(stream, {});
    const [trained, held] = [await column(train, "picture"), await column(test, "picture")];
    assertEquals(trained.length + held.length, 160);
    assert(held.length >= 8 && held.length <= 64, `${held.length} of 160 rows held out`);
    assertEquals(held.filter((one) => trained.includes(one)), []);
    const byRow = await heldOutPart(stream, { splitBy: "row" });
    const [rest, drawn] = [
      await column(byRow.train, "picture"),
      await column(byRow.test, "picture"),
    ];
    assert(drawn.some((one) => rest.includes(one)));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("pictures that both given splits show are counted, and the warning says what to do", async () => {
  const train = await open(rows(10, 2));
  const evaluation = await open(rows(14, 1).slice(7));
  const { heldOut, note } = await pictureOverlap(train, evaluation);
  assertEquals(heldOut, { pictures: 7, inTraining: 3 });
  assert(note[0].includes("3 of 7 held-out pictures are in the training rows"), note[0]);
  assert(note[0].includes("dataset.eval_data_path: null"), note[0]);
  const apart = await pictureOverlap(train, await open(rows(14, 1).slice(10)));
  assertEquals(apart, { heldOut: { pictures: 4, inTraining: 0 }, note: [] });
});

Deno.test("loadTrainAndEval() tells how many rows of a split a slice takes", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const lines = Array.from(
      { length: 160 },
      (_, i) => JSON.stringify({ question: `q${i}`, answer: "a" }),
    );
    Deno.writeTextFileSync(`${folder}/train.jsonl`, lines.join("\n"));
    const load = (trainSplit: string, maxSamples: number | null = null, streaming = false) =>
      loadTrainAndEval({ trainPath: folder, trainSplit, format: "vqa", maxSamples, streaming });
    const { train, warnings } = await load("train[:5%]");
    assertEquals(train.selection, "8 of 160 rows (train[:5%])");
    assert(warnings.some((text) => text.endsWith(": 8 of 160 rows (train[:5%])")), `${warnings}`);
    assertEquals((await load("train")).train.selection, null);
    assertEquals(
      (await load("train[:5%]", 4)).train.selection,
      "4 of 160 rows (train[:5%], max_samples 4)",
    );
    assertEquals((await load("train", 160)).train.selection, null);
    assertEquals(
      (await load("train[-16:]", null, true)).train.selection,
      "16 of 160 rows (train[-16:])",
    );
    assertEquals(
      (await load("train", 20, true)).train.selection,
      "at most 20 rows (max_samples 20)",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
