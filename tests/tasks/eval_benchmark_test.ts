import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parquetWriteBuffer } from "hyparquet-writer";
import { embeddedShapes } from "../../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../../src/data/embedded/embedded_shapes_png.ts";
import { startFakeHub } from "../hub/fake_hub.ts";
import { writeTinyModel } from "./tiny_model_folder.ts";

const entry = new URL("../../mod.ts", import.meta.url).pathname;
const QUESTIONS = 40;

/** Rows as the Hub's DocVQA has them: a picture, a question and a list of answers. */
function docVqaParquet(): Uint8Array {
  const numbers = Array.from({ length: QUESTIONS }, (_, i) => i);
  const pictures = embeddedShapes({ trainPictures: QUESTIONS }).train.slice(0, QUESTIONS)
    .map(({ image }) => encodePng(image));
  return new Uint8Array(parquetWriteBuffer({
    schema: [
      { name: "root", num_children: 4 },
      { name: "questionId", type: "BYTE_ARRAY", converted_type: "UTF8" },
      { name: "question", type: "BYTE_ARRAY", converted_type: "UTF8" },
      { name: "image", num_children: 2, repetition_type: "OPTIONAL" },
      { name: "bytes", type: "BYTE_ARRAY", repetition_type: "OPTIONAL" },
      { name: "path", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "answers", num_children: 1, converted_type: "LIST", repetition_type: "OPTIONAL" },
      { name: "list", num_children: 1, repetition_type: "REPEATED" },
      { name: "element", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
    ],
    columnData: [
      { name: "questionId", data: numbers.map(String) },
      { name: "question", data: numbers.map((i) => `What is written in line ${i}?`) },
      { name: "image", data: pictures.map((bytes, i) => ({ bytes, path: `${i}.png` })) },
      { name: "answers", data: numbers.map((i) => [`answer ${i}`, "another"]) },
    ],
  }));
}

const README = `---
configs:
- config_name: DocVQA
  data_files:
  - split: validation
    path: DocVQA/validation-*
- config_name: InfographicVQA
  data_files:
  - split: validation
    path: InfographicVQA/validation-*
---
`;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(args: readonly string[], env: Record<string, string>): Promise<Outcome> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", entry, "eval", ...args],
    stdin: "null",
    env,
  });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("eval --benchmark takes its data from the Hub, goes on where it stopped, and compares", async () => {
  const folder = await Deno.makeTempDir();
  const parquet = docVqaParquet();
  const hub = startFakeHub({
    datasets: {
      "lmms-lab-encoder/DocVQA": {
        "README.md": README,
        "DocVQA/validation-00000-of-00001.parquet": parquet,
        "InfographicVQA/validation-00000-of-00001.parquet": parquet,
      },
    },
  });
  try {
    await writeTinyModel(`${folder}/one`, 1);
    await writeTinyModel(`${folder}/two`, 2);
    const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: `${folder}/hf`, HF_TOKEN: "" };
    const measure = (model: string, ...further: string[]) =>
      run([
        ...["--model", `${folder}/${model}`, "--benchmark", "docvqa", "--backend", "wasm"],
        ...["--out", `${folder}/${model}.jsonl`, "--batch-size", "4", ...further],
      ], env);
    const whole = await measure("one", "--json");
    assertEquals(whole.code, 0, whole.err);
    const { value, low, high, questions, metric, results } = JSON.parse(whole.out);
    assertEquals([questions, metric, results], [QUESTIONS, "anls", `${folder}/one.jsonl`]);
    assert(low <= value && value <= high);
    assert(!whole.err.includes("not the benchmark's number"), whole.err);
    const text = await Deno.readTextFile(`${folder}/one.jsonl`);
    const lines = text.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines[0].questions, QUESTIONS);
    assertEquals(lines.slice(1).map(({ index }) => index), [...Array(QUESTIONS).keys()]);
    assertEquals(
      lines[1].question,
      "What is written in line 0?\nAnswer the question using a single word or phrase.",
    );
    const mean = lines.slice(1).reduce((sum, { score }) => sum + score, 0) / QUESTIONS;
    assertEquals(value, mean);
    assert(!hub.requests.some(({ path }) => path.includes("InfographicVQA/validation")));

    // Stopped in the middle of a line: the same command goes on to the same file.
    const part = text.split("\n").slice(0, 13).join("\n") + '\n{"index": 12, "ques';
    await Deno.writeTextFile(`${folder}/one.jsonl`, part);
    const resumed = await measure("one", "--json");
    assertEquals(resumed.code, 0, resumed.err);
    assertStringIncludes(resumed.err, `has 12 of ${QUESTIONS} questions`);
    assertEquals(await Deno.readTextFile(`${folder}/one.jsonl`), text);
    assertEquals(JSON.parse(resumed.out).value, value);

    // Another model, or another number of questions, is another measurement.
    await Deno.copyFile(`${folder}/one.jsonl`, `${folder}/two.jsonl`);
    const other = await measure("two");
    assertEquals(other.code, 2, other.err);
    assertStringIncludes(other.err, `${folder}/one and ${folder}/two`);
    const fewer = await measure("one", "--limit", "8");
    assertEquals(fewer.code, 2, fewer.err);
    assertStringIncludes(fewer.err, `questions ${QUESTIONS} and questions 8`);
    assertEquals(await Deno.readTextFile(`${folder}/two.jsonl`), text);

    // A copy of the data gives the same file.
    await Deno.mkdir(`${folder}/copy/DocVQA`, { recursive: true });
    await Deno.writeFile(`${folder}/copy/DocVQA/validation-00000-of-00001.parquet`, parquet);
    await Deno.remove(`${folder}/two.jsonl`);
    const local = await measure("two", "--data", `${folder}/copy`, "--limit", "8");
    assertEquals(local.code, 0, local.err);
    assertStringIncludes(local.err, "not the benchmark's number: the first 8 questions alone");
    assertStringIncludes(local.out, "anls");
    const apart = await run(["compare", `${folder}/one.jsonl`, `${folder}/two.jsonl`], env);
    assertEquals(apart.code, 2, apart.err);
    assertStringIncludes(apart.err, "questions 40 and questions 8");
    await Deno.remove(`${folder}/two.jsonl`);
    assertEquals((await measure("two", "--data", `${folder}/copy`)).code, 0);
    const compared = await run([
      ...["compare", `${folder}/one.jsonl`, `${folder}/two.jsonl`, "--json"],
      ...["--changed", `${folder}/changed.jsonl`],
    ], env);
    assertEquals(compared.code, 0, compared.err);
    const [first, second] = JSON.parse(compared.out).results;
    assertEquals(first.value, value);
    assertEquals(second.difference, second.value - first.value);
    const changed = (await Deno.readTextFile(`${folder}/changed.jsonl`)).split("\n").length - 1;
    assertEquals(changed, second.gained + second.lost);

    const wrong = await measure("one", "--data", `${folder}/copy/none`);
    assertEquals(wrong.code, 2, wrong.err);
    const unknown = await run(["--model", `${folder}/one`, "--benchmark", "docvqaa"], env);
    assertEquals(unknown.code, 2, unknown.err);
    assertStringIncludes(unknown.err, "did you mean docvqa?");
    const mixed = await measure("one", "--metric", "anls");
    assertEquals(mixed.code, 2, mixed.err);
    assertStringIncludes(mixed.err, "leave out --metric");
  } finally {
    await hub.close();
    await Deno.remove(folder, { recursive: true });
  }
});
