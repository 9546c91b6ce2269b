import { assert, assertEquals } from "@std/assert";
import { parseConfig } from "../../../src/config/load_config.ts";
import { namesOfConfig } from "../../../tasks/named_paths.ts";
import { prepareData } from "../../../src/train/batches/prepare_data.ts";
import { dataFacts } from "../../../src/train/run/run_texts.ts";

/** Two files with other column names each, and a file to evaluate on. */
async function withFiles(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  const write = (name: string, rows: readonly unknown[]) =>
    Deno.writeTextFileSync(
      `${folder}/${name}.jsonl`,
      rows.map((row) => JSON.stringify(row)).join("\n"),
    );
  const count = (rows: number) => Array.from({ length: rows }, (_, i) => i);
  try {
    write("docs", count(50).map((i) => ({ question: `doc${i}`, answer: "x" })));
    write("charts", count(100).map((i) => ({ asked: `chart${i}`, told: "x" })));
    write("held", count(5).map((i) => ({ question: `held${i}`, answer: "x" })));
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const config = (folder: string, docs = "", more = "") =>
  parseConfig(`training_type: sft
model: { model_name_or_path: x }
dataset:
  max_samples: 60
  mixture:
    datasets:
      - { path: ${folder}/docs.jsonl, weight: 1${docs} }
      - path: ${folder}/charts.jsonl
        label: plots
        weight: 3
        max_samples: null
        rename_columns: { asked: question, told: answer }
${more}`);

for (const streaming of [false, true]) {
  Deno.test(`prepareData() loads a mixture of a config, ${streaming ? "streamed" : "at random"}`, () =>
    withFiles(async (folder) => {
      const mixture = config(folder, "", `  streaming: ${streaming}\n`);
      const data = await prepareData(mixture, "vqa");
      const questions = await Array.fromAsync(data.train, ({ turns }) => turns[0].user);
      const docs = questions.filter((text) => text.startsWith("doc")).length;
      assert(docs > 0 && questions.length > 2 * docs, `${docs} of ${questions.length}`);
      assertEquals(data.evaluation!.sets.map(({ name }) => name), ["docs", "plots"]);
      const facts = new Map(dataFacts(mixture, data, "examples").facts);
      assertEquals(facts.get("training"), "mixture of docs, plots");
      if (streaming) return;
      // A fifth of 50 and of 100 rows: max_samples of a set wins over that of all.
      assertEquals(data.evaluation!.length, 30);
      assert(String(facts.get("rows of plots")).includes("an epoch"));
    }));
}

Deno.test("a set of a mixture may bring its own evaluation rows, or all one file", () =>
  withFiles(async (folder) => {
    const own = await prepareData(config(folder, `, eval_path: ${folder}/held.jsonl`), "vqa");
    assertEquals(own.evaluation!.length, 5 + 20);
    const all = await prepareData(
      config(folder, "", `  eval_data_path: ${folder}/held.jsonl\n`),
      "vqa",
    );
    assertEquals([all.evaluation!.length, all.evaluation!.sets], [5, []]);
    const names = namesOfConfig(config(folder, `, eval_path: ${folder}/held.jsonl`));
    assertEquals(
      names.filter(([by]) => by.startsWith("dataset.mixture")).map(([by]) => by.split(".")[2]),
      ["datasets[0]", "datasets[0]", "datasets[1]"],
    );
  }));
