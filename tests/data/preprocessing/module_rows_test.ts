import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataError, RowSkipped } from "../../../src/data/data_error.ts";
import { loadDataset } from "../../../src/data/load_dataset.ts";
import { TempModules } from "../../rewards/temp_modules.ts";

/** The smallest PNG, one pixel. */
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const bytes = Uint8Array.fromBase64(PNG);

const turns = 'texts: [{ user: "q", assistant: "a" }]';

/** Loads rows through a module; the places or reasons of what was skipped, and the number of rows. */
async function load(temp: TempModules, source: string, rows: unknown[]) {
  await Deno.writeTextFile(temp.path("data/module.js"), source);
  await Deno.writeTextFile(
    temp.path("data/train.jsonl"),
    rows.map((row) => JSON.stringify(row)).join("\n") + "\n",
  );
  const dataset = await loadDataset({
    path: temp.path("data/train.jsonl"),
    format: "vqa",
    preprocessingFn: temp.path("data/module.js"),
    preprocessing: { log: () => {} },
  });
  const skipped: string[] = [];
  for (let i = 0; i < dataset.length; i++) {
    await dataset.get(i).catch((error) => {
      if (!(error instanceof RowSkipped)) throw error;
      skipped.push(error.reason);
    });
  }
  return { used: dataset.length - skipped.length, skipped };
}

async function place(): Promise<TempModules> {
  const temp = await TempModules.write({ "data/empty.txt": "", "outside/empty.txt": "" });
  for (const file of ["data/inside.png", "outside/other.png"]) {
    await Deno.writeFile(temp.path(file), bytes);
  }
  if (Deno.build.os !== "windows") {
    await Deno.symlink("../outside/other.png", temp.path("data/link.png"));
    await new Deno.Command("mkfifo", { args: [temp.path("data/pipe.png")] }).output();
  }
  return temp;
}

Deno.test("a preprocessing module may name pictures of the row, and below the data file's folder", async () => {
  await using temp = await place();
  const outside = temp.path("outside/other.png");
  const rename = `export const rename = (row) => ({ images: [row.photo], ${turns} });`;
  assertEquals(await load(temp, rename, [{ photo: outside }, { photo: "inside.png" }]), {
    used: 2,
    skipped: [],
  });
  const inside = `export const inside = () => ({ images: ["inside.png"], ${turns} });`;
  assertEquals((await load(temp, inside, [{ n: 1 }])).used, 1);
});

Deno.test({
  name: "a preprocessing module cannot make the trainer read other files, devices or pipes",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using temp = await place();
    for (
      const path of [temp.path("outside/other.png"), "../outside/other.png", "link.png"]
        .concat(["/dev/zero", "/proc/self/environ", "pipe.png", "."])
    ) {
      const source = `export const names = () => ({ images: [${
        JSON.stringify(path)
      }], ${turns} });`;
      const { used, skipped } = await load(temp, source, [{ n: 1 }]);
      assertEquals([used, skipped.length], [0, 1], path);
      assertStringIncludes(skipped[0], path);
    }
    // Batches of another length have the names of all their rows.
    const batch = `export const batch_two = ({ photo }) => ({
      images: [[photo[0]], [${JSON.stringify(temp.path("outside/other.png"))}]],
      texts: [1, 2].map(() => [{ user: "q", assistant: "a" }]) });`;
    const { used, skipped } = await load(temp, batch, [{ photo: "inside.png" }]);
    assertEquals([used, skipped.length], [1, 1]);
  },
});

Deno.test({
  name: "a row of the data that names a device or a pipe is skipped too",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using temp = await place();
    const keep = `export const keep = () => ({ ${turns} });`;
    const rows = ["/dev/zero", "pipe.png"].map((image) => ({ image }));
    const { used, skipped } = await load(temp, keep, rows);
    assertEquals(used, 0);
    assert(skipped.every((reason) => reason.includes("it is not a regular file")), skipped.join());
  },
});

Deno.test("the names of skipped pictures are shown without control characters", async () => {
  await using temp = await place();
  const source = String
    .raw`export const names = () => ({ images: ["\u001b[2J\nrun failed: all is lost"], ${turns} });`;
  const { skipped } = await load(temp, source, [{ n: 1 }]);
  assert(!/\p{Cc}/u.test(skipped[0]), skipped[0]);
});

Deno.test("a preprocessing module makes a bounded number of rows, and odd names harm nothing", async () => {
  await using temp = await place();
  const many = "export const batch_many = () => ({ n: new Array(400_000).fill(null) });";
  await assertRejects(() => load(temp, many, [{ n: 1 }]), DataError, "rows of 1: want 1064");
  const odd = `export const batch_odd = (columns) => ({
    ...columns, constructor: [1], toString: [2], ["__proto__"]: [3], ${
    turns.replace("texts: [", "texts: [[").replace(/\]$/, "]]")
  } });
    export const again = (row) => ({ hasOwnProperty: 1 });`;
  assertEquals((await load(temp, odd, [{ n: 1 }])).used, 1);
});
