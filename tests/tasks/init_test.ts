/** `init` as a user meets it. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { CommandLine } from "../faults/command_line.ts";
import { RED_PIXEL } from "../data/sources/parquet_fixture.ts";

Deno.test("init writes a config that train takes, and never over another one unless asked", async (t) => {
  const root = await Deno.makeTempDir();
  const out = `${root}/mine.yaml`;
  try {
    await using cli = new CommandLine();
    await Deno.mkdir(`${root}/rows`);
    await Deno.writeFile(`${root}/rows/red.png`, RED_PIXEL);

    await t.step("a folder with pictures alone gets told what a table looks like", async () => {
      const { code, stderr } = await cli.run(["init", `${root}/rows`, `--out=${out}`]);
      assertEquals(code, 1);
      assertStringIncludes(stderr, "1 pictures and no table");
      assertStringIncludes(stderr, '{"image":"red.png","question"');
    });

    const row = { image: "red.png", question: "Which colour?", answer: "red" };
    const table = `${JSON.stringify(row)}\n`.repeat(20);
    await Deno.writeTextFile(`${root}/rows/train.jsonl`, table);

    await t.step("a data set", async () => {
      const { code, stdout, stderr } = await cli.run(["init", `${root}/rows`, `--out=${out}`]);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, `wrote ${out}`);
      assertStringIncludes(stdout, `deno task train sft --config ${out} --dry-run`);
      assertStringIncludes(stderr, "20 rows");
      const dry = await cli.run([
        ...["train", "sft", `--config=${out}`, "--dry-run", "--backend=wasm"],
        // All rows show one picture, so that rows alone can be held out.
        ...["--set", "dataset.split_by=row"],
      ]);
      assertEquals(dry.code, 0, dry.stderr);
      assertStringIncludes(dry.stdout, "data: 16 examples to train on, 4 held out");
    });

    await t.step("a file that is there stays, and --force overwrites it", async () => {
      await Deno.writeTextFile(out, "mine\n");
      const { code, stderr } = await cli.run(["init", `${root}/rows`, `--out=${out}`]);
      assertEquals(code, 2);
      assertStringIncludes(stderr, "--force overwrites it");
      assertEquals(await Deno.readTextFile(out), "mine\n");
      assertEquals((await cli.run(["init", `${root}/rows`, `--out=${out}`, "--force"])).code, 0);
      assertStringIncludes(await Deno.readTextFile(out), "training_type: sft");
    });

    await t.step("data that is not there", async () => {
      const { code, stderr } = await cli.run(["init", `${root}/none.jsonl`]);
      assertEquals(code, 2);
      assertStringIncludes(stderr, "there is no such file or folder");
    });
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
