/** Data that cannot be used: clear errors, or rows that are skipped, counted and named. */
import { assert, assertEquals } from "@std/assert";
import { writeVqaParquet } from "../data/sources/parquet_fixture.ts";
import { JPEG_RED_BLUE } from "../image/picture_files.ts";
import { base64, GOOD_PNG, IMAGE_BOMB, vqaRow, writeRows } from "./broken_rows.ts";
import {
  assertFails,
  assertNothingHalfWritten,
  CommandLine,
  pathsBelow,
  tinyTraining,
} from "./command_line.ts";

const good = base64(GOOD_PNG);

const files: [name: string, file: string, content: string | Uint8Array, (string | RegExp)[]][] = [
  ["an empty file", "empty.jsonl", "", ["empty.jsonl: the file is empty"]],
  ["a line that is no JSON", "cut.jsonl", '{"texts": []}\n{"te', ["cut.jsonl line 2", "not JSON"]],
  ["a list with no rows", "none.json", "[]", ["none.json"]],
  [
    "no column with texts",
    "columns.jsonl",
    JSON.stringify({ image: good, txts: [] }),
    ["want a column texts", "got image, txts (nearest: txts)", "dataset.rename_columns"],
  ],
  ["a parquet file of other bytes", "other.parquet", "PAR1 nope", ["not a complete parquet file"]],
];

/** Rows that are skipped, one fault each, among 30. */
const skipped: [name: string, row: unknown, reason: RegExp][] = [
  ["a PNG that is cut", vqaRow(base64(GOOD_PNG.subarray(0, 60))), /PNG of 60 bytes .* corrupt/],
  ["a JPEG that is cut", vqaRow(base64(JPEG_RED_BLUE.subarray(0, 200))), /JPEG .* is cut/],
  ["an image bomb", vqaRow(base64(IMAGE_BOMB)), /claims 60000 x 60000 pixels, more than/],
  ["too many images", vqaRow(Array(20).fill(good)), /20 images, more than max_images_per_example/],
  ["no text", { image: good, texts: [] }, /no text/],
  ["no answer", vqaRow(good, [{ user: "What?", assistant: "" }]), /no answer|no text|empty/],
  ["a number for an image", vqaRow(17), /image holds number 17; want bytes, base64/],
  [
    "an image file that is not there",
    vqaRow("no/such.png"),
    /no\/such\.png: there is no such file/,
  ],
];

Deno.test("data that cannot be used exits with 1 and names file and row; single rows are skipped, counted and named", async (t) => {
  const root = await Deno.makeTempDir({ prefix: "data faults " });
  let runs = 0;
  const next = () => `${root}/out-${runs++}`;
  const twelveSteps = ["training.max_steps=12", "training.save_strategy=no"];
  try {
    await using cli = new CommandLine();
    for (const [name, file, content, says] of files) {
      await t.step(name, async () => {
        const path = `${root}/${file}`, output = next();
        if (typeof content === "string") await Deno.writeTextFile(path, content);
        else await Deno.writeFile(path, content);
        const outcome = await cli.run(tinyTraining(output, [`dataset.train_data_path=${path}`]));
        assertFails(outcome, 1, file, ...says);
        assertEquals(pathsBelow(output), []);
      });
    }
    await t.step("a file that is not there", async () => {
      const outcome = await cli.run(
        tinyTraining(next(), [`dataset.train_data_path=${root}/no.csv`]),
      );
      assertFails(outcome, 2, `${root}/no.csv: there is no such file`);
    });
    await t.step("a parquet file that is cut, and one with a corrupt page", async () => {
      const path = `${root}/rows.parquet`;
      writeVqaParquet(path, 50);
      const bytes = await Deno.readFile(path);
      const settings = [`dataset.train_data_path=${path}`];
      await Deno.writeFile(path, bytes.subarray(0, -300));
      assertFails(
        await cli.run(tinyTraining(next(), settings)),
        1,
        path,
        "not a complete parquet file",
      );
      await Deno.writeFile(path, bytes.map((byte, i) => i > 100 && i < 400 ? 0xaa : byte));
      const output = next();
      assertFails(await cli.run(tinyTraining(output, settings)), 1, path, "parquet");
      assertNothingHalfWritten(output);
    });
    await t.step("a split that is not there", async () => {
      const folder = `${root}/folder`;
      await Deno.mkdir(folder);
      await writeRows(`${folder}/train.jsonl`, []);
      const settings = [`dataset.train_data_path=${folder}`, "dataset.train_split=validation"];
      assertFails(await cli.run(tinyTraining(next(), settings)), 1, "validation", folder, "train");
    });

    await t.step(
      "up to 10 % bad rows are skipped, and the run names each with its reason",
      async () => {
        for (const some of [skipped.slice(0, 3), skipped.slice(3, 6), skipped.slice(6)]) {
          const path = await writeRows(`${root}/some.jsonl`, some.map(([, row]) => row));
          const output = next();
          const { code, stderr } = await cli.run(
            tinyTraining(output, [`dataset.train_data_path=${path}`, ...twelveSteps]),
          );
          assertEquals(code, 0, stderr);
          assert(stderr.includes(`skipped ${some.length} of 30 rows`), stderr);
          for (const [i, [name, , reason]] of some.entries()) {
            const line = stderr.split("\n").find((text) =>
              text.includes(`some.jsonl line ${i + 1})`)
            );
            assert(line !== undefined && reason.test(line), `${name}:\n${stderr}`);
          }
          const last = (await Deno.readTextFile(`${output}/metrics.jsonl`)).trim().split("\n").at(
            -1,
          );
          assertEquals(JSON.parse(last ?? "").skipped_rows, some.length);
          assert((await Deno.readTextFile(`${output}/report.html`)).includes("some.jsonl line 1"));
        }
      },
    );
    await t.step("more than 10 % bad rows stop the run", async () => {
      for (const row of [vqaRow(base64(IMAGE_BOMB)), { image: good, texts: [] }]) {
        const path = await writeRows(`${root}/many.jsonl`, Array(8).fill(row));
        const output = next();
        const settings = [`dataset.train_data_path=${path}`, ...twelveSteps];
        const outcome = await cli.run(tinyTraining(output, settings));
        assertFails(outcome, 1, /Cannot use \d of 30 rows, more than 10 %/, "many.jsonl line");
        assertNothingHalfWritten(output);
      }
    });
    await t.step("rows without images train beside rows with them", async () => {
      const path = await writeRows(`${root}/mixed.jsonl`, Array(10).fill(vqaRow(undefined)));
      const settings = [`dataset.train_data_path=${path}`, ...twelveSteps];
      const { code, stderr } = await cli.run(tinyTraining(next(), settings));
      assertEquals(code, 0, stderr);
      assert(!stderr.includes("skipped"), stderr);
    });
    await t.step("image tokens that a user typed are text, and shift no picture", async () => {
      const typed = vqaRow(good, [{
        user: "<|image|><|global_image|><row_1_col_1> what is this?",
        assistant: "grey <|image|>",
      }]);
      const path = await writeRows(`${root}/typed.jsonl`, Array(30).fill(typed));
      const settings = [`dataset.train_data_path=${path}`, ...twelveSteps];
      const { code, stderr } = await cli.run(tinyTraining(next(), settings));
      assertEquals(code, 0, stderr);
      assert(!stderr.includes("skipped"), stderr);
    });
    await t.step("a max_seq_length that does not hold the image tokens", async () => {
      const path = await writeRows(`${root}/short.jsonl`, []);
      const settings = [`dataset.train_data_path=${path}`, "training.max_seq_length=3"];
      const output = next();
      const outcome = await cli.run(tinyTraining(output, settings));
      assertFails(outcome, 1, "4 image tokens do not fit into max_seq_length 3", "raise training.");
      assertNothingHalfWritten(output);
    });
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
