/**
 * lmms-eval, a benchmark runner in Python, measures a served model on a task of drawn pictures by its
 * OpenAI backend; `eval` measures the same rows. It fails if the two numbers differ.
 *
 * deno run -A bench/serve_benchmark_runner.ts --python PYTHON --model DIR [--pictures 40]
 *
 * PYTHON has lmms-eval 0.7.3. docs/runs/serve_benchmark_runner.log is the output.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "@std/cli/parse-args";
import { embeddedShapes, shapesVqaRows } from "../src/data/embedded/embedded_shapes.ts";
import { encodePng } from "../src/data/embedded/embedded_shapes_png.ts";
import { ServerProcess } from "./serving/server_process.ts";

const TASK = "drawn_shapes";

/** A local task in lmms-eval's format, over the rows beside it. */
function taskYaml(rows: string): string {
  return `task: ${TASK}
dataset_path: json
dataset_kwargs:
  data_files:
    test: ${rows}
test_split: test
output_type: generate_until
doc_to_visual: !function task_functions.pictures
doc_to_text: !function task_functions.question
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 24
  temperature: 0
  do_sample: false
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
metadata:
  - version: 0.0
`;
}

const TASK_FUNCTIONS = `import os
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))


def pictures(doc):
    return [Image.open(os.path.join(HERE, doc["image"])).convert("RGB")]


def question(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]
`;

/** Writes the task and its rows: one question each. */
async function writeTask(folder: string, pictures: number): Promise<number> {
  const drawn = embeddedShapes({ seed: 1 }).test.slice(0, pictures);
  const lines: string[] = [];
  for (const [i, { image }] of drawn.entries()) {
    await Deno.writeFile(`${folder}/${i}.png`, encodePng(image));
    const [{ texts }] = shapesVqaRows([drawn[i]]);
    for (const { user, assistant } of texts as { user: string; assistant: string }[]) {
      lines.push(JSON.stringify({
        image: `${i}.png`,
        texts: [{ user, assistant }],
        question: user,
        answer: assistant,
      }));
    }
  }
  await Deno.writeTextFile(`${folder}/rows.jsonl`, lines.join("\n") + "\n");
  await Deno.writeTextFile(`${folder}/${TASK}.yaml`, taskYaml(`${folder}/rows.jsonl`));
  await Deno.writeTextFile(`${folder}/task_functions.py`, TASK_FUNCTIONS);
  return lines.length;
}

async function run(command: string, args: readonly string[], env = {}): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args], env })
    .output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  if (code === 0) return text;
  throw new Error(`Cannot run ${command}: it ended with ${code}\n${text}${decoder.decode(stderr)}`);
}

if (import.meta.main) {
  const { python, model, pictures } = parseArgs(Deno.args, {
    string: ["python", "model", "pictures"],
    default: { pictures: "40" },
  });
  if (typeof python !== "string" || typeof model !== "string") {
    console.error("want --python PYTHON --model DIR");
    Deno.exit(2);
  }
  const folder = await Deno.makeTempDir({ prefix: "benchmark_runner_" });
  try {
    const count = await writeTask(folder, Number(pictures));
    const version = await run(python, [
      ...[
        "-c",
        "import importlib.metadata as m; print(m.version('lmms-eval'), m.version('openai'))",
      ],
    ]);
    console.log(`lmms-eval and openai ${version.trim()}; ${count} questions, 8 at a time`);
    await Deno.symlink(await Deno.realPath(model), `${folder}/served`);
    let theirs: string;
    {
      await using server = await ServerProcess.start(["--model", `${folder}/served`]);
      theirs = await run(python, [
        ...["-m", "lmms_eval", "--model", "openai", "--tasks", TASK, "--include_path", folder],
        "--model_args",
        `model_version=served,base_url=${server.url}/v1,api_key=none,num_concurrent=8,timeout=120`,
        ...["--batch_size", "1", "--output_path", `${folder}/out`, "--log_samples"],
      ], { HF_DATASETS_OFFLINE: "1", HF_HUB_OFFLINE: "1", OPENAI_API_KEY: "none" });
    }
    console.log(theirs.split("\n").filter((line) => line.startsWith("|")).join("\n"));
    const lmmsEval = Number(/\|exact_match\s*\|[^|]*\|\s*([\d.]+)/.exec(theirs)?.[1]);
    const main = fileURLToPath(new URL("../mod.ts", import.meta.url));
    const report = JSON.parse(
      await run(Deno.execPath(), [
        ...["run", "-A", "--no-check", "--quiet", main, "eval", "--model", model],
        ...["--data", `${folder}/rows.jsonl`, "--json"],
      ]),
    );
    console.log(
      `exact match: lmms-eval through the server ${lmmsEval}, eval ${report.exact_match} of ` +
        `${report.questions} questions`,
    );
    if (report.questions !== count || !(Math.abs(lmmsEval - report.exact_match) < 5e-5)) {
      console.log("NOT PASSED: the two differ");
      Deno.exit(1);
    }
    console.log("passed: the two are the same");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
