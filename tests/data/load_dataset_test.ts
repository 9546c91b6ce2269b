import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { DataError, RowSkipped } from "../../src/data/data_error.ts";
import { datasetFromRows, loadDataset } from "../../src/data/load_dataset.ts";
import { builtinTransform } from "../../src/data/preprocessing/builtin_transforms.ts";
import type { Cell, Row } from "../../src/data/rows/row.ts";
import { loadTrainAndEval } from "../../src/data/splits/train_eval.ts";
import { RED_PIXEL_BASE64, writeVqaParquet } from "./sources/parquet_fixture.ts";

async function inFolder(run: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function writeLines(path: string, rows: readonly unknown[]): void {
  Deno.writeTextFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n") + "\n");
}

const row = (i: number): Row => ({ texts: [{ user: `q${i}`, assistant: `a${i}` }], number: i });
const rows = (count: number): Row[] => Array.from({ length: count }, (_, i) => row(i));

const easyVqa = new URL("../../../shared/data/easy-vqa/", import.meta.url).pathname;
const noEasyVqa = (() => {
  try {
    return !Deno.statSync(easyVqa).isDirectory;
  } catch {
    return true;
  }
})();

Deno.test({
  name: `easy-VQA loads whole, by slice and by turn${noEasyVqa ? " (skipped: not here)" : ""}`,
  ignore: noEasyVqa,
  fn: async () => {
    const whole = await loadDataset({ path: easyVqa, format: "vqa" });
    assertEquals(whole.length, 4000);
    assertEquals(whole.columns, ["image", "texts"]);
    const first = await whole.get(0);
    assertEquals(first.turns.length, 12);
    assertEquals(first.images.length, 1);
    assertEquals([...first.images[0].bytes.slice(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
    assertEquals(first.images[0].name, "0.png");
    const turns = await loadDataset({ path: easyVqa, format: "vqa", splitTurns: true });
    assertEquals(turns.length, 38575);
    assertEquals((await turns.get(11)).turns, [first.turns[11]]);
    const slice = await loadDataset({ path: easyVqa, format: "vqa", split: "train[50%:51%]" });
    assertEquals(slice.length, 40);
    assertEquals((await slice.get(0)).turns, (await whole.get(2000)).turns);
    assertEquals(await slice.place(0), "train-00001-of-00002.parquet row 0");
  },
});

Deno.test("a folder of shards is one split in order; slices cross files", () =>
  inFolder(async (dir) => {
    Deno.mkdirSync(`${dir}/data`);
    writeVqaParquet(`${dir}/data/train-00000-of-00002.parquet`, 30, 10, "a");
    writeVqaParquet(`${dir}/data/train-00001-of-00002.parquet`, 20, 10, "b");
    writeVqaParquet(`${dir}/data/test-00000-of-00001.parquet`, 5, 10, "c");
    const questions = async (split: string) => {
      const dataset = await loadDataset({ path: dir, format: "vqa", split });
      const all: string[] = [];
      for await (const example of dataset) all.push(example.turns[0].user);
      return all;
    };
    assertEquals((await questions("train")).length, 50);
    assertEquals(await questions("train[29:31]"), ["a 29?", "b 0?"]);
    assertEquals(await questions("train[-1:]+test[:1]"), ["b 19?", "c 0?"]);
    assertEquals((await questions("all")).length, 55);
    await assertRejects(() => questions("validation"), DataError, "it has train, test");
    await assertRejects(() => questions("train[60:]"), DataError, "train has 50 rows");
  }));

Deno.test("a file named itself answers to every usual split, and to no other", () =>
  inFolder(async (dir) => {
    const path = `${dir}/held_out.jsonl`;
    writeLines(path, rows(3));
    assertEquals((await loadDataset({ path, format: "vqa", split: "test[:2]" })).length, 2);
    await assertRejects(
      () => loadDataset({ path, format: "vqa", split: "tain" }),
      DataError,
      "did you mean train?",
    );
  }));

Deno.test("max_samples takes the first rows of the slice, rename_columns comes before reading", () =>
  inFolder(async (dir) => {
    const path = `${dir}/a.jsonl`;
    writeLines(path, rows(20).map((r) => ({ dialogue: r.texts, n: r.number })));
    const options = {
      path,
      format: "vqa",
      split: "train[5:]",
      maxSamples: 3,
      renameColumns: { dialogue: "texts", absent: "x" },
    } as const;
    const dataset = await loadDataset(options);
    assertEquals(dataset.columns, ["texts", "n"]);
    assertEquals(await Array.fromAsync(dataset, (example) => example.columns.n), [5, 6, 7]);
    const stream = await loadDataset({ ...options, streaming: true });
    assertEquals(await Array.fromAsync(stream, (example) => example.columns.n), [5, 6, 7]);
    await assertRejects(
      () => loadDataset({ ...options, renameColumns: { dialogue: "n" } }),
      DataError,
      "two columns n",
    );
  }));

Deno.test("images given as paths are read beside the data file", () =>
  inFolder(async (dir) => {
    Deno.mkdirSync(`${dir}/pictures`);
    Deno.writeTextFileSync(`${dir}/pictures/a.png`, "picture");
    writeLines(`${dir}/a.jsonl`, [{ ...row(0), image: "pictures/a.png" }]);
    const dataset = await loadDataset({ path: `${dir}/a.jsonl`, format: "vqa" });
    const [image] = (await dataset.get(0)).images;
    assertEquals(new TextDecoder().decode(image.bytes), "picture");
    assertEquals(image.name, "pictures/a.png");
  }));

Deno.test("rows with no text are left out, counted and named; over 10 % is an error", async () => {
  const data = rows(30);
  data[3] = { texts: [], number: 3 };
  data[7] = { texts: [{ user: "q", assistant: "" }], number: 7 };
  const dataset = await datasetFromRows(data, { format: "vqa" });
  assertEquals(dataset.length, 28);
  assertEquals(dataset.skipped.count, 2);
  assertEquals(
    dataset.skipped.summary(),
    "  1 × no text (rows row 3)\n  1 × no answer (rows row 7)",
  );
  assertEquals((await dataset.get(3)).columns.number, 4);
  data[8] = data[9] = { texts: null };
  const error = await assertRejects(() => datasetFromRows(data, { format: "vqa" }), DataError);
  assertEquals(error.message.split("\n")[0], "Cannot use 4 of 30 rows, more than 10 %:");
});

Deno.test("rows of files with one name in two folders are counted apart", () =>
  inFolder(async (dir) => {
    for (const part of ["one", "two"]) {
      Deno.mkdirSync(`${dir}/${part}`);
      writeLines(`${dir}/${part}/a.jsonl`, [{ texts: [] }, ...rows(12)]);
    }
    const dataset = await loadDataset({ path: dir, format: "vqa" });
    assertEquals(dataset.length, 24);
    assertEquals(dataset.skipped.rows.map(({ place }) => place), [
      `${dir}/one/a.jsonl line 1`,
      `${dir}/two/a.jsonl line 1`,
    ]);
  }));

Deno.test("rows whose images cannot be read are counted once, when they are read", async () => {
  const data = rows(30).map((r, i): Row => i % 15 === 4 ? { ...r, image: "gone.png" } : r);
  const dataset = await datasetFromRows(data, { format: "vqa" });
  assertEquals(dataset.length, 30);
  await assertRejects(() => dataset.get(4), RowSkipped, "Skipped rows row 4: image file gone.png");
  assertEquals(dataset.skipped.count, 0);
  for (let epoch = 0; epoch < 3; epoch++) {
    let seen = 0;
    for await (const example of dataset) seen += example.turns.length;
    assertEquals(seen, 28);
  }
  assertEquals(dataset.skipped.count, 2);
  const worse = await datasetFromRows(data.map((r) => ({ ...r, image: 5 })), { format: "vqa" });
  await assertRejects(
    async () => {
      for (let i = 0; i < worse.length; i++) assertEquals(await worse.tryGet(i), null);
    },
    DataError,
    "more than 10 %",
  );
});

Deno.test("a row with more images than fit is skipped", async () => {
  const images: Cell = [RED_PIXEL_BASE64, RED_PIXEL_BASE64];
  const dataset = await datasetFromRows([{ ...row(0), images }, row(1)], {
    format: "vqa",
    maxImagesPerExample: 1,
  });
  await assertRejects(
    () => dataset.get(0),
    RowSkipped,
    "2 images, more than max_images_per_example 1",
  );
});

Deno.test("split() cuts 80/20 by rows, so that the turns of a picture stay together", async () => {
  const turn = { user: "q", assistant: "a" };
  const data = Array.from({ length: 51 }, (_, i): Row => ({ texts: [turn, turn, turn], i }));
  const dataset = await datasetFromRows(data, { format: "vqa", splitTurns: true });
  const { train, test } = dataset.split(0.2, 42);
  assertEquals([train.length, test.length], [40 * 3, 11 * 3]);
  const numbers = async (part: typeof train) =>
    new Set(await Array.fromAsync(part, (example) => example.columns.i as number));
  const [inTrain, inTest] = [await numbers(train), await numbers(test)];
  assertEquals(inTrain.size + inTest.size, 51);
  assert([...inTest].every((i) => !inTrain.has(i)));
  assertEquals(await numbers(dataset.split(0.2, 42).test), inTest);
  assertNotEquals(await numbers(dataset.split(0.2, 43).test), inTest);
  assertThrows(() => train.select([0]).split(0.2, 42), DataError, "give eval_data_path");
});

Deno.test("select() keeps the given order and refuses what is not there", async () => {
  const dataset = await datasetFromRows(rows(5), { format: "vqa" });
  const part = dataset.select([4, 0, 4]);
  assertEquals(await Array.fromAsync(part, (e) => e.columns.number), [4, 0, 4]);
  assertThrows(() => dataset.select([5]), RangeError, "it has 5 examples");
  await assertRejects(() => dataset.get(-1), RangeError);
});

Deno.test("loadTrainAndEval() splits if no evaluation data is named, else loads it", () =>
  inFolder(async (dir) => {
    writeLines(`${dir}/train.jsonl`, rows(10));
    writeLines(`${dir}/test.jsonl`, rows(4));
    const split = await loadTrainAndEval({ trainPath: dir, format: "vqa" });
    assertEquals([split.train.length, split.evaluation?.length], [8, 2]);
    const named = await loadTrainAndEval({ trainPath: dir, evalPath: dir, format: "vqa" });
    assertEquals([named.train.length, named.evaluation?.length], [10, 4]);
    const none = await loadTrainAndEval({ trainPath: dir, format: "vqa", evaluation: false });
    assertEquals([none.train.length, none.evaluation], [10, null]);
    await assertRejects(
      () => loadTrainAndEval({ trainPath: dir, evalPath: dir, evalSplit: "dev", format: "vqa" }),
      DataError,
      "dataset.eval_split",
    );
  }));

Deno.test("a fingerprint names the contents and options, not the folder", () =>
  inFolder(async (dir) => {
    const print = async (path: string, split = "train") =>
      (await loadDataset({ path, split, format: "vqa" })).fingerprint;
    writeLines(`${dir}/a.jsonl`, rows(10));
    Deno.mkdirSync(`${dir}/copy`);
    Deno.copyFileSync(`${dir}/a.jsonl`, `${dir}/copy/a.jsonl`);
    const first = await print(`${dir}/a.jsonl`);
    assertEquals(first.length, 64);
    assertEquals(await print(`${dir}/copy/a.jsonl`), first);
    assertNotEquals(await print(`${dir}/a.jsonl`, "train[:5]"), first);
    const text = Deno.readTextFileSync(`${dir}/a.jsonl`);
    Deno.writeTextFileSync(`${dir}/a.jsonl`, text.replace("q7", "q_"));
    assertNotEquals(await print(`${dir}/a.jsonl`), first);
  }));

Deno.test("builtin:dataset_preprocessing_sft and _grpo turn problem and solution into examples", async () => {
  const data: Row[] = [
    { problem: "2 + 2?", solution: "4" },
    { problem: "3 + 3?", solution: "<think> easy </think><answer> 6 </answer>" },
  ];
  const sft = await datasetFromRows(data, {
    format: "vqa",
    preprocessingFn: "builtin:dataset_preprocessing_sft",
  });
  const [first, second] = await Array.fromAsync(sft, (example) => example.turns[0]);
  assert(first.user.endsWith("\n\n2 + 2?") && first.user.includes("<think>"));
  assertEquals(first.assistant, "<answer> 4 </answer>");
  assertEquals(second.assistant, "<think> easy </think><answer> 6 </answer>");
  const grpo = await datasetFromRows(data, {
    format: "grpo",
    preprocessingFn: "builtin:dataset_preprocessing_grpo",
  });
  const example = await grpo.get(0);
  assertEquals(example.prompt[0].content, first.user);
  assertEquals(example.columns.solution, "4");
  assertThrows(
    () => builtinTransform("builtin:dataset_preprocessing_stf"),
    DataError,
    "nearest: builtin:dataset_preprocessing_sft",
  );
});
