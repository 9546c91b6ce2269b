/** What a dry run tells of data: rows that cannot be used, and rows without pictures. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { vqaRow, writeRows } from "./broken_rows.ts";
import { CommandLine, pathsBelow, tinyTraining } from "./command_line.ts";

Deno.test("a dry run names the reason of each skip, and the kind of a picture that is not read", async () => {
  const root = await Deno.makeTempDir({ prefix: "dry run " });
  try {
    await using cli = new CommandLine();
    const avif = new Uint8Array(64);
    avif.set(new TextEncoder().encode("\0\0\0\x20ftypavif"), 0);
    const rows = [vqaRow("no/such.png"), vqaRow(avif.toBase64())];
    const path = await writeRows(`${root}/some.jsonl`, rows);
    const settings = [`dataset.train_data_path=${path}`];
    const { code, stdout, stderr } = await cli.run(
      tinyTraining(`${root}/out`, settings, ["--dry-run"]),
    );
    assertEquals(code, 0, stderr);
    const told = stdout + stderr;
    assertMatch(told, /no\/such\.png: there is no such file/);
    assertMatch(told, /AVIF/);
    assertStringIncludes(told, "with pictures");
    assertEquals(pathsBelow(`${root}/out`), []);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("runs, dry runs and eval say that no row has a picture", async () => {
  const root = await Deno.makeTempDir({ prefix: "dry run " });
  try {
    await using cli = new CommandLine();
    const texts = [{ user: "What is it?", assistant: "a dog" }];
    const rows = Array.from({ length: 30 }, () => JSON.stringify({ texts, scan: "x.png" }));
    const path = `${root}/blind.jsonl`;
    await Deno.writeTextFile(path, rows.join("\n") + "\n");
    const settings = [
      `dataset.train_data_path=${path}`,
      `save.save_model_path=${root}/model`,
      "training.save_strategy=no",
    ];
    const dry = await cli.run(tinyTraining(`${root}/dry`, settings, ["--dry-run"]));
    const run = await cli.run(tinyTraining(`${root}/run`, settings));
    const measured = await cli.run([
      ...["eval", "--backend", "wasm", "--model", `${root}/model`, "--data", path],
      ...["--max-new-tokens", "2"],
    ]);
    for (const [name, { code, stdout, stderr }] of Object.entries({ dry, run, measured })) {
      assertEquals(code, 0, `${name}: ${stderr}`);
      assert(/no row has a picture/.test(stdout + stderr), `${name}: ${stdout}${stderr}`);
    }
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});
