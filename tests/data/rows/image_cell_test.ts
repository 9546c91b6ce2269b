import { assertEquals, assertRejects } from "@std/assert";
import { RowSkipped } from "../../../src/data/data_error.ts";
import {
  readImages,
  rowPictures,
  USUAL_PICTURE_COLUMNS,
} from "../../../src/data/rows/image_cell.ts";
import { localFolder } from "../../../src/data/sources/local_file.ts";
import type { Cell, DataFolder, Row } from "../../../src/data/rows/row.ts";
import { RED_PIXEL, RED_PIXEL_BASE64 } from "../sources/parquet_fixture.ts";

const folder: DataFolder = {
  read: (path) =>
    path === "pictures/a.png"
      ? Promise.resolve(RED_PIXEL)
      : Promise.reject(new RowSkipped(`image file ${path}: there is no such file`)),
};

/** The images of a row whose texts have places for none. */
const imagesOf = (row: Row, limit: number) =>
  readImages(rowPictures(row, USUAL_PICTURE_COLUMNS, []), folder, limit);

async function count(row: Row, limit = 9): Promise<number> {
  const images = await imagesOf(row, limit);
  for (const image of images) assertEquals(image.bytes, RED_PIXEL);
  return images.length;
}

const forms: [string, Cell][] = [
  ["raw bytes", RED_PIXEL],
  ["a {bytes, path} struct", { bytes: RED_PIXEL, path: "x.png" }],
  ["a {bytes, path} struct with base64", { bytes: RED_PIXEL_BASE64, path: null }],
  ["a {bytes, path} struct with a path alone", { bytes: null, path: "pictures/a.png" }],
  ["base64", RED_PIXEL_BASE64],
  ["base64 in lines", RED_PIXEL_BASE64.replace(/(.{40})/g, "$1\n")],
  ["a data URL", `data:image/png;base64,${RED_PIXEL_BASE64}`],
  [
    "a data URL with per cents",
    "data:image/png," + [...RED_PIXEL].map((b) => "%" + b.toString(16).padStart(2, "0")).join(""),
  ],
  ["a path", "pictures/a.png"],
  ["a list of numbers", [...RED_PIXEL]],
];
for (const [what, cell] of forms) {
  Deno.test(`readImages() takes ${what}, alone and in a list`, async () => {
    assertEquals(await count({ image: cell }), 1);
    assertEquals(await count({ images: [cell, cell] }), 2);
  });
}

Deno.test("readImages() gives none for null, an empty list, and no column", async () => {
  assertEquals(await count({ image: null }), 0);
  assertEquals(await count({ images: [] }), 0);
  assertEquals(await count({ images: [null] }), 0);
  assertEquals(await count({ text: "x" }), 0);
});

Deno.test("readImages() reads image if images is null", async () => {
  assertEquals(await count({ images: null, image: RED_PIXEL }), 1);
  assertEquals(await count({ images: [], image: RED_PIXEL }), 1);
  assertEquals(await count({ images: [{ bytes: null, path: null }], image: RED_PIXEL }), 1);
});

Deno.test("readImages() copies, so that an image does not keep its page alive", async () => {
  const page = new Uint8Array(1000);
  page.set(RED_PIXEL, 100);
  const [image] = await imagesOf({ image: page.subarray(100, 100 + RED_PIXEL.length) }, 9);
  assertEquals(image.bytes.buffer.byteLength, RED_PIXEL.length);
});

const bad: [string, Row, string][] = [
  ["too many images", { images: [RED_PIXEL, RED_PIXEL] }, "2 images, more than max_images"],
  ["a web address", { image: "https://example.com/a.png" }, "images are not fetched"],
  ["a file URL of no file", { image: "file:///gone.png" }, "image file /gone.png: there is no"],
  ["a broken web address", { image: "http://[" }, "images are not fetched"],
  ["a number", { image: 5 }, "image holds number 5"],
  ["no bytes", { image: new Uint8Array() }, "has no bytes"],
  ["a missing file", { images: ["gone.png"] }, "image file gone.png: there is no such file"],
  ["a broken data URL", { image: "data:image/png;base64,@@@" }, "base64 is broken"],
];
for (const [what, row, reason] of bad) {
  Deno.test(`readImages() skips a row with ${what}`, async () => {
    await assertRejects(() => imagesOf(row, 1), RowSkipped, reason);
  });
}

Deno.test("localFolder() reads beside the data file, not in the working directory", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/pictures`);
    await Deno.writeFile(`${dir}/pictures/a.png`, RED_PIXEL);
    const local = localFolder(`${dir}/train.jsonl`);
    assertEquals(await local.read("pictures/a.png"), RED_PIXEL);
    assertEquals(await local.read(`${dir}/pictures/a.png`), RED_PIXEL);
    await assertRejects(() => local.read("b.png"), RowSkipped, "there is no such file");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
