import { assertEquals, assertRejects } from "@std/assert";
import { dataWarnings } from "../../../src/data/data_notes.ts";
import { DataError } from "../../../src/data/data_error.ts";
import { loadDataset } from "../../../src/data/load_dataset.ts";
import type { DatasetFormat } from "../../../src/data/rows/formats.ts";
import { readImageHeader } from "../../../src/image/image_header.ts";
import { CASES, caseTest } from "./shared_cases.ts";

/** Sizes of the pictures of each row. */
async function sizes(path: string, format: DatasetFormat): Promise<string[][]> {
  const dataset = await loadDataset({ path: CASES + path, format });
  const found: string[][] = [];
  for await (const { images } of dataset) {
    found.push(images.map(({ bytes }) => {
      const { width, height } = readImageHeader(bytes);
      return `${width}x${height}`;
    }));
  }
  return found;
}

const inline: [string, DatasetFormat][] = [
  ["openai", "vqa"],
  ["qwen", "vqa"],
  ["transformers_url", "vqa"],
  ["grpo", "grpo"],
  ["pref", "preference"],
];
for (const [name, format] of inline) {
  caseTest(`inline_images/${name}: one picture a row`, async () => {
    const found = await sizes(`inline_images/${name}.jsonl`, format);
    assertEquals(found, Array(20).fill(["48x32"]));
  });
}

caseTest(
  "inline_images/openai: the picture stands behind the text, as in the message",
  async () => {
    const dataset = await loadDataset({
      path: `${CASES}inline_images/openai.jsonl`,
      format: "vqa",
    });
    assertEquals((await dataset.get(0)).turns, [
      { user: "What?", assistant: "cat", pictures: ["What?".length] },
    ]);
  },
);

for (const name of ["imagefolder", "image_path.jsonl", "images_empty.jsonl"]) {
  caseTest(`no_pictures/${name}: the picture that is named`, async () => {
    const found = await sizes(`no_pictures/${name}`, "vqa");
    assertEquals(found, Array(name === "imagefolder" ? 2 : 20).fill(["48x32"]));
  });
}

const differing: [string, string][] = [
  ["no_pictures/mark_without_picture", "20 × 1 <image> mark and 0 pictures"],
  ["image_marks/mark_none", "3 × 1 <image> mark and 0 pictures"],
  ["image_marks/two_marks", "3 × 2 <image> marks and 1 picture"],
  ["image_marks/two_images_one_mark", "3 × 1 <image> mark and 2 pictures"],
];
for (const [name, reason] of differing) {
  caseTest(`${name}: rows whose marks and pictures differ are told`, async () => {
    const path = `${CASES}${name}.jsonl`;
    await assertRejects(() => loadDataset({ path, format: "vqa" }), DataError, reason);
  });
}

caseTest("readme_splits: a data set without pictures says so", async () => {
  const dataset = await loadDataset({ path: `${CASES}readme_splits`, format: "vqa" });
  assertEquals(dataWarnings(dataset).length, 1);
});
