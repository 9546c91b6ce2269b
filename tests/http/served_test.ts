import { assert, assertEquals } from "@std/assert";
import denoConfig from "../../deno.json" with { type: "json" };
import { GIF_RED_BLUE } from "../image/picture_files.ts";
import { publishDryRun, servePublished } from "./published_files.ts";

/** An import map for modules that come from `origin`: the stand-ins take the place of JSR. */
function importMap(origin: string): string {
  const standIns: Record<string, string> = {
    "@std/assert": "links/std_assert/mod.ts",
    "@std/cli": "links/std_cli/mod.ts",
    "@std/cli/parse-args": "links/std_cli/parse_args.ts",
    "@std/yaml": "links/std_yaml/mod.ts",
  };
  const imports: Record<string, string> = { ...denoConfig.imports };
  for (const [name, path] of Object.entries(standIns)) imports[name] = origin + path;
  return JSON.stringify({ imports });
}

/** Runs the command line as it comes over http, in a folder that has nothing of ours. */
async function runServed(
  origin: string,
  folder: string,
  args: readonly string[],
  program: string = `${origin}mod.ts`,
): Promise<{ code: number; out: string; err: string }> {
  await Deno.writeTextFile(`${folder}/import_map.json`, importMap(origin));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-config",
      "--no-lock",
      `--import-map=${folder}/import_map.json`,
      // With a slash at its end it would match no module.
      `--reload=${origin.slice(0, -1)}`,
      program,
      ...args,
    ],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("deno publish --dry-run passes, with what is needed and no tests", async () => {
  const { code, text, files } = await publishDryRun();
  assertEquals(code, 0, text);
  for (const needed of ["mod.ts", "LICENSE", "README.md", "deno.json", "tasks/main.ts"]) {
    assert(files.includes(needed), needed);
  }
  // deno.json lists what belongs to the package, so that whatever lies beside it stays out.
  const roots = new Set(files.map((file) => file.split("/")[0]));
  assertEquals(
    [...roots].sort(),
    "CHANGELOG.md LICENSE README.md configs deno.json links mod.ts reward_functions src tasks"
      .split(
        " ",
      ),
  );
});

Deno.test("the embedded default trains over http, from published files alone", async () => {
  await using server = await servePublished();
  const folder = await Deno.makeTempDir();
  const { code, err } = await runServed(server.origin, folder, [
    ..."train sft --backend wasm --set training.max_steps=5 --set training.warmup_steps=1".split(
      " ",
    ),
    ..."--set training.eval_strategy=no --output-dir run --set save.save_model_path=model".split(
      " ",
    ),
  ]);
  assertEquals(code, 0, err);
  assertEquals(server.missed, []);
  const files = [...Deno.readDirSync(`${folder}/model`)].map(({ name }) => name);
  for (const name of ["config.json", "model.safetensors", "tokenizer.json"]) {
    assert(files.includes(name), `${name} is missing: ${files}`);
  }
  assert((await Deno.stat(`${folder}/run/report.html`)).size > 10_000);
  const site = await runServed(server.origin, folder, [
    ..."export web --model model --out site".split(" "),
  ]);
  assertEquals(site.code, 0, site.err);
  assert((await Deno.stat(`${folder}/site/nanovlm-worker.js`)).size > 100_000);
  assertEquals(server.missed, []);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("threads decode pictures when the program comes over http", async () => {
  await using server = await servePublished();
  const folder = await Deno.makeTempDir();
  const script = `${folder}/decode.ts`;
  await Deno.writeTextFile(
    script,
    `import { ImageProcessor } from "${server.origin}mod.ts";
     import { ImageWorkers } from "${server.origin}src/image/image_workers.ts";
     const options = { maxImgSize: 32, splitImageSize: 32, resizeToMaxSideLen: false };
     const workers = new ImageWorkers(new ImageProcessor(options));
     workers.start(1);
     const { tileCount } = await workers.process(Uint8Array.from(${
      JSON.stringify([...GIF_RED_BLUE])
    }));
     console.log(tileCount, workers.count, workers.hereMs);`,
  );
  const { code, out, err } = await runServed(server.origin, folder, [], script);
  assertEquals(code, 0, err);
  assertEquals(out.trim(), "1 1 0", "by a thread, none of it on the main thread");
  assertEquals(server.missed, []);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a reward module runs in its sandbox when the program comes over http", async () => {
  await using server = await servePublished();
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${folder}/length.ts`,
    "export function length({ completions }: { completions: string[] }): number[] {\n" +
      "  return completions.map((text) => text.length);\n}\n",
  );
  await Deno.writeTextFile(
    `${folder}/rows.jsonl`,
    '{"prompt": "Say it", "completion": "four"}\n{"prompt": "Again", "completion": "word"}\n',
  );
  const { code, out, err } = await runServed(
    server.origin,
    folder,
    "reward check length.ts --data rows.jsonl --json".split(" "),
  );
  assertEquals(code, 0, err + out);
  assertEquals(JSON.parse(out).functions.length.scores, [4, 4]);
  assertEquals(server.missed, []);
  await Deno.remove(folder, { recursive: true });
});

/** A copy of the sources that a checkout has. */
async function copyCheckout(to: string): Promise<void> {
  const { files } = await publishDryRun();
  const root = new URL("../../", import.meta.url);
  for (const file of files) {
    await Deno.mkdir(`${to}/${file}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.copyFile(new URL(encodeURI(file), root), `${to}/${file}`);
  }
}

Deno.test({
  name: "a read-only checkout in a folder with spaces trains",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const folder = await Deno.makeTempDir({ prefix: "with some spaces " });
    const checkout = `${folder}/my check out`;
    await copyCheckout(checkout);
    await new Deno.Command("chmod", { args: ["-R", "a-w", checkout] }).output();
    const output = `${folder}/the output`;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ..."task --quiet train sft --backend wasm --set training.max_steps=2".split(" "),
        ..."--set training.warmup_steps=1 --set training.eval_strategy=no --output-dir".split(" "),
        output,
      ],
      cwd: checkout,
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assert((await Deno.stat(`${output}/final_model/model.safetensors`)).size > 1000);
    await new Deno.Command("chmod", { args: ["-R", "u+w", checkout] }).output();
    await Deno.remove(folder, { recursive: true });
  },
});
