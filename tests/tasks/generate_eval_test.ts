import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fixtureTest } from "../parity/shared_fixtures.ts";

const entry = new URL("../../mod.ts", import.meta.url).pathname;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line in a process of its own, on wasm. */
async function run(...args: string[]): Promise<Outcome> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", entry, ...args, "--backend", "wasm"],
    stdin: "null",
  });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

fixtureTest("generate answers on stdout, in text or as one JSON object", async (directory) => {
  const model = ["--model", `${directory}/model`, "--prompt", "What is this?"];
  const options = ["--greedy", "--max-new-tokens", "6"];
  const plain = await run("generate", ...model, ...options);
  assertEquals(plain.code, 0, plain.err);
  const json = await run("generate", ...model, ...options, "--json");
  assertEquals(json.code, 0, json.err);
  const { text, tokens, finish_reason } = JSON.parse(json.out);
  assertEquals(plain.out, `${text}\n`);
  assert(tokens.length <= 6 && tokens.every(Number.isInteger));
  assertEquals(finish_reason, tokens.length === 6 && tokens.at(-1) !== 2 ? "length" : "eos");
});

fixtureTest(
  "generate samples the same answer for the same seed, with pictures",
  async (directory) => {
    const pictures: string[] = [];
    for await (const { name } of Deno.readDir(`${directory}/preprocess/images`)) {
      if (/\.(png|jpe?g)$/.test(name)) pictures.push(`${directory}/preprocess/images/${name}`);
    }
    const [first, second] = pictures.sort();
    const ask = (seed: string) =>
      run(
        "generate",
        ...["--model", `${directory}/model`, "--prompt", "What?", "--json"],
        ...["--image", first, "--image", second, "--max-new-tokens", "9", "--top-k", "40"],
        ...["--temperature", "1.5", "--top-p", "0.99", "--seed", seed],
      );
    const [a, b, other] = await Promise.all([ask("1"), ask("1"), ask("2")]);
    assertEquals(a.code, 0, a.err);
    assertEquals(a.out, b.out);
    assert(a.out !== other.out);
  },
);

fixtureTest(
  "generate says what is wrong with a picture or a model: exit code 2 if it is missing, 1 if it is damaged",
  async (directory) => {
    const folder = await Deno.makeTempDir();
    await Deno.writeFile(`${folder}/bad.png`, new Uint8Array([0x89, 0x50, 0x4e, 0x47, 1, 2, 3]));
    const model = ["--model", `${directory}/model`, "--prompt", "hi"];
    const [missing, corrupt, nowhere, unnamed] = await Promise.all([
      run("generate", ...model, "--image", `${folder}/none.png`),
      run("generate", ...model, "--image", `${folder}/bad.png`),
      run("generate", "--model", `${folder}/no/model`, "--prompt", "hi"),
      run("generate", "--prompt", "hi"),
    ]);
    assertEquals([missing.code, corrupt.code, nowhere.code, unnamed.code], [2, 1, 2, 2]);
    assertStringIncludes(missing.err, "none.png: there is no such file");
    assertStringIncludes(corrupt.err, "bad.png: Cannot decode");
    assertStringIncludes(nowhere.err, "there is no such folder");
    assertStringIncludes(unnamed.err, "--model");
    for (const { out } of [missing, corrupt, nowhere, unnamed]) assertEquals(out, "");
    await Deno.remove(folder, { recursive: true });
  },
);

fixtureTest("eval prints one JSON object and writes a line a question", async (directory) => {
  const folder = await Deno.makeTempDir();
  const out = `${folder}/answers.jsonl`;
  await Deno.writeTextFile(out, "of an earlier run\n".repeat(1000));
  const data = ["--model", `${directory}/model`, "--data", "builtin:shapes", "--limit", "4"];
  const vqa = await run("eval", ...data, "--max-new-tokens", "2", "--json", "--out", out);
  assertEquals(vqa.code, 0, vqa.err);
  const scores = JSON.parse(vqa.out);
  assertEquals([scores.examples, scores.questions, scores.skipped], [4, 12, 0]);
  assert(scores.exact_match >= 0 && scores.exact_match <= 1);
  const lines = (await Deno.readTextFile(out)).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assertEquals(lines.length, 12);
  for (const line of lines) {
    assertEquals(
      Object.keys(line),
      ["question", "expected", "answer", "correct", "answer_type"],
    );
  }
  const right = lines.filter(({ correct }) => correct).length;
  assertEquals(scores.exact_match, right / 12);
  const table = await run("eval", ...data, "--format", "preference");
  assertEquals(table.code, 0, table.err);
  assertStringIncludes(table.out, "chosen over rejected");
  await Deno.remove(folder, { recursive: true });
});

fixtureTest(
  "eval refuses data that is not there with exit code 2, and data of another format with 1",
  async (directory) => {
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/odd.jsonl`, '{"picture": 1}\n');
    const out = `${folder}/answers.jsonl`;
    await Deno.writeTextFile(out, "of an earlier run\n");
    const model = ["eval", "--model", `${directory}/model`, "--out", out, "--data"];
    const [missing, odd, oddly, unnamed] = await Promise.all([
      run(...model, `${folder}/none.jsonl`),
      run(...model, `${folder}/odd.jsonl`),
      run(...model, `${folder}/odd.jsonl`, "--format", "vqa"),
      run("eval", "--model", `${directory}/model`),
    ]);
    assertEquals([missing.code, odd.code, oddly.code, unnamed.code], [2, 1, 1, 2]);
    assertEquals(await Deno.readTextFile(out), "of an earlier run\n");
    assertStringIncludes(missing.err, "none.jsonl");
    assertStringIncludes(odd.err, "Cannot tell what");
    await Deno.remove(folder, { recursive: true });
  },
);
